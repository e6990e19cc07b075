//! Cron patterns as crontab(5) means them, in the notation of croner, which computes their times for the platform and
//! for the portal.

use crate::field::Invalid;

/// What crontab(5) abbreviates, apart from `@reboot`.
const NICKNAMES: [(&str, &str); 7] = [
    ("@hourly", "0 * * * *"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@weekly", "0 0 * * 0"),
    ("@monthly", "0 0 1 * *"),
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
];
const FORMS: &str = "five fields (minute, hour, day, month, weekday), or @hourly, @daily, @weekly, @monthly or @yearly";
const PATTERN_BYTES_MAX: usize = 200;

/// The pattern for croner. What its fields may hold is left to it.
///
/// # Errors
/// The pattern has not five fields, and is no nickname of crontab(5).
pub fn crontab(pattern: &str) -> Result<String, Invalid> {
    let wrong = |why: String| Invalid::new("cron", format!("cron: {why}"));
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("at most {PATTERN_BYTES_MAX} bytes")));
    }
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    match fields.as_slice() {
        [name] if name.starts_with('@') => {
            let known = NICKNAMES.iter().find(|(nickname, _)| name.eq_ignore_ascii_case(nickname));
            known.map(|(_, pattern)| (*pattern).to_owned()).ok_or_else(|| {
                wrong(match name.eq_ignore_ascii_case("@reboot") {
                    true => "`@reboot` is no time: nothing is rebooted here".to_owned(),
                    false => format!("`{}` is unknown: {FORMS}", name.escape_debug()),
                })
            })
        }
        [minutes, hours, days, months, weekdays] => {
            if let Some(field) = fields.iter().find(|field| field.split(',').any(str::is_empty)) {
                return Err(wrong(format!("`{}` lists nothing between its commas", field.escape_debug())));
            }
            // A job runs where day or weekday match. But where one of the two begins with a star, a step included, both
            // must; croner knows that of the star alone, and writes it as a plus.
            let stars = [days, weekdays].iter().any(|field| field.starts_with(['*', '?']));
            let and = if stars && !weekdays.starts_with('+') { "+" } else { "" };
            Ok(format!("{minutes} {hours} {days} {months} {and}{weekdays}"))
        }
        _ => Err(wrong(FORMS.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::crontab;

    #[test]
    fn f26_stars_join_day_and_weekday() {
        for (pattern, meant) in [
            ("0 0 */2 * 1", "0 0 */2 * +1"),
            ("0 0 1-7 * */2", "0 0 1-7 * +*/2"),
            ("0 0 *,3 * MON", "0 0 *,3 * +MON"),
            ("0 0 1,15 * 1", "0 0 1,15 * 1"),
            ("0 0 1-31/2 * 1", "0 0 1-31/2 * 1"),
            ("*/5  * 1 * +MON", "*/5 * 1 * +MON"),
            (" @Midnight ", "0 0 * * *"),
            ("@yearly", "0 0 1 1 *"),
        ] {
            assert_eq!(crontab(pattern).unwrap(), meant, "{pattern}");
        }
    }

    #[test]
    fn f26_what_is_no_pattern_is_told() {
        for (bad, said) in [
            ("", "five fields"),
            ("* * * *", "five fields"),
            ("* * * * * *", "five fields"),
            ("@never", "@hourly"),
            ("@reboot", "no time"),
            ("0 0 , * *", "commas"),
            ("0 1,,2 * * *", "commas"),
        ] {
            let refused = crontab(bad).unwrap_err();
            assert!(refused.field.is_in("cron") && refused.why.contains(said), "{bad}: {refused:?}");
        }
    }
}
