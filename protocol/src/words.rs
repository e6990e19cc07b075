//! Counts with their nouns, as people read them. Sizes and durations name their units themselves: see [`crate::units`].

/// A count with its noun: `1 run`, `3 runs`, `2 tries`.
#[must_use]
pub fn count(number: impl TryInto<u64>, noun: &str) -> String {
    match number.try_into() {
        Ok(1) => format!("1 {noun}"),
        other => format!("{} {}", other.unwrap_or(u64::MAX), plural(noun)),
    }
}

/// Regular nouns: all that we count are.
fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) || noun.ends_with("ch") => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::count;

    #[test]
    fn one_is_no_plural() {
        assert_eq!([count(0_u32, "run"), count(1_u64, "run"), count(2_usize, "run")], ["0 runs", "1 run", "2 runs"]);
        assert_eq!([count(1, "try"), count(3, "try"), count(3, "key")], ["1 try", "3 tries", "3 keys"]);
        assert_eq!([count(1, "alias"), count(2, "alias"), count(2, "CPU")], ["1 alias", "2 aliases", "2 CPUs"]);
    }
}
