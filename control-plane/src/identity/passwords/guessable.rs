//! Which passwords somebody who guesses tries first. The estimate takes more than a second for the worst text of a hundred
//! characters: it sees the first ones alone, which are enough for a guess at what is easy.

use unicode_normalization::UnicodeNormalization as _;

/// Who guesses, likeliest first, finds none that is allowed before so many.
const GUESSES_MIN: u64 = 100_000;
/// What everybody knows who tries it here.
const OF_THE_PLATFORM: &str = "crowdcloud";
/// Characters that the estimate looks at.
const ESTIMATED_MAX: usize = 40;
/// Shorter parts of what is known of a user say nothing.
const PART_LENGTH_MIN: usize = 3;
/// Besides what is known of its user, a password has more than so many letters and digits.
const OTHER_LENGTH_MIN: usize = 6;

/// What is known of a user: an address, a name, and their parts.
pub(super) fn words(own: &[&str]) -> Vec<String> {
    let own: Vec<String> =
        own.iter().copied().chain([OF_THE_PLATFORM]).map(|text| plain(text).to_lowercase()).collect();
    let parts = own.iter().flat_map(|text| text.split(|c: char| !c.is_alphanumeric()));
    let parts: Vec<String> = parts.filter(|part| part.chars().count() >= PART_LENGTH_MIN).map(str::to_owned).collect();
    own.into_iter().chain(parts).collect()
}

/// Whether it is common, or a pattern such as a row of keys, or made of what is known of the user.
pub(super) fn is_guessed_first(password: &str, own: &[String]) -> bool {
    let password = plain(password);
    if is_made_of(&password, own) {
        return true;
    }
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    let start: String = password.chars().take(ESTIMATED_MAX).collect();
    zxcvbn::zxcvbn(&start, &own).guesses() < GUESSES_MIN
}

/// As it looks: letters of full width are letters, and what cannot be seen separates nothing.
fn plain(text: &str) -> String {
    let unseen = |c: char| c.is_control() || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}');
    text.nfkc().filter(|c| !unseen(*c)).collect()
}

/// Whether little is left where what is known of the user is taken out.
fn is_made_of(password: &str, own: &[String]) -> bool {
    let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
    let whole = letters(password).to_lowercase();
    let mut own: Vec<String> = own.iter().map(|word| letters(word)).collect();
    own.retain(|word| word.chars().count() >= PART_LENGTH_MIN);
    own.sort_by_key(|word| std::cmp::Reverse(word.len()));
    // What was taken out keeps its place, so that nothing new is made of what stood around it.
    let other = own.iter().fold(whole.clone(), |left, word| left.replace(word.as_str(), " "));
    other != whole && other.chars().filter(|c| *c != ' ').count() < OTHER_LENGTH_MIN
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a25_what_is_guessed_first_is_refused_and_nothing_else() {
        let own = words(&["ada.lovelace@example.org", "analytical-engines"]);
        for bad in [
            "1234567890",
            "0987654321",
            "qwertyuiop",
            "asdfghjkl;",
            "1q2w3e4r5t",
            "          ",
            "aaaaaaaaaa",
            "abcdefghij",
            "abcabcabcabc",
            "password123",
            "Passw0rd123",
            "iloveyou12",
            "passwordpassword",
            "password\0password",
            "pass\u{200b}word123",
            "ｐａｓｓｗｏｒｄ１２３",
            "crowdcloud",
            "CrowdCloud1",
            "crowdcloud2026",
            "ada.lovelace@example.org",
            "adalovelace",
            "LovelaceAda",
            "ada-ada-ada",
            "adaradai123",
            "ＡｄａＬｏｖｅｌａｃｅ",
            "example.org",
            "www.example.org",
            "analytical-engines",
            "analyticalengines",
        ] {
            assert!(is_guessed_first(bad, &own), "{bad:?}");
        }
        for good in [
            "correct horse",
            "battery staple",
            "kvmxqplrwt",
            "ГрустныйКит7",
            "二十匹の猫と一匹の犬がいる",
            "8f2a90c4d1",
            "ada likes long walks",
            "ten red kites",
        ] {
            assert!(!is_guessed_first(good, &own), "{good:?}");
        }
    }

    #[test]
    fn a06_only_the_start_is_estimated() {
        let start = "a".repeat(ESTIMATED_MAX);
        assert!(is_guessed_first(&format!("{start}kvmxqplrwt8f2a90c4d1"), &[]));
        assert!(!is_guessed_first(&format!("{}kvmxqplrwt", &start[10..]), &[]));
    }
}
