//! Cron patterns as crontab(5) means them, in the notation of croner, which computes their times for the platform and
//! for the portal. What croner takes beyond crontab(5) is refused: it would mean something else to another cron.

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

const MINUTE: Part = Part { name: "minute", min: 0, max: 59, names: &[] };
const HOUR: Part = Part { name: "hour", min: 0, max: 23, names: &[] };
const DAY: Part = Part { name: "day", min: 1, max: 31, names: &[] };
const MONTH: Part = Part {
    name: "month",
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
/// Sunday is 0 and 7.
const WEEKDAY: Part =
    Part { name: "weekday", min: 0, max: 7, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };
const SUNDAY: &str = "sun";

/// One of the five fields.
struct Part {
    name: &'static str,
    min: u32,
    max: u32,
    /// Names of its values, from the least on.
    names: &'static [&'static str],
}

/// A field that was read.
struct Read {
    /// As croner writes it.
    text: String,
    values: Vec<u32>,
}

impl Part {
    /// The whole field, a list.
    fn read(&self, field: &str) -> Result<Read, String> {
        if field.split(',').any(str::is_empty) {
            return Err(format!("{} is `{}`, which lists nothing between its commas", self.name, field.escape_debug()));
        }
        if field == "*" {
            return Ok(Read { text: field.to_owned(), values: (self.min..=self.max).collect() });
        }
        let mut texts = Vec::new();
        let mut values = Vec::new();
        for element in field.split(',') {
            let Read { text, values: more } = self.element(element)?;
            texts.push(text);
            values.extend(more);
        }
        Ok(Read { text: texts.join(","), values })
    }

    /// A value, a range, or a range with a step.
    fn element(&self, element: &str) -> Result<Read, String> {
        let wrong = |why: String| Err(format!("{} is `{}`; {why}", self.name, element.escape_debug()));
        let (range, step) = match element.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (element, None),
        };
        let (first, last) = match self.bounds(range) {
            Ok(bounds) => bounds,
            Err(why) => return wrong(why),
        };
        if first > last {
            let (min, max) = (self.min, self.max);
            return wrong(format!("a range goes up: write `{first}-{max},{min}-{last}`"));
        }
        let Some(step) = step else {
            let text = if first == last { first.to_string() } else { format!("{first}-{last}") };
            return Ok(Read { text, values: (first..=last).collect() });
        };
        let count = (first..=last).count();
        let steps = digits(step).unwrap_or(0);
        if steps == 0 {
            return wrong("a step is a whole number from 1".to_owned());
        }
        if !range.contains(['*', '-']) {
            return wrong(format!("a step needs a range: write `{first}-{}/{steps}`", self.max));
        }
        if steps > count {
            return wrong(format!("its step is greater than its range; allowed: 1 to {count}"));
        }
        // The star stays: for croner it tells what is due at each turn of the clock from what is due at one time of it.
        let text = if range == "*" { format!("*/{steps}") } else { format!("{first}-{last}/{steps}") };
        Ok(Read { text, values: (first..=last).step_by(steps).collect() })
    }

    /// The first and the last value of a range; of a value itself twice.
    fn bounds(&self, range: &str) -> Result<(u32, u32), String> {
        if range == "*" {
            return Ok((self.min, self.max));
        }
        let value = |text: &str| self.value(text).ok_or_else(|| self.allowed(text));
        let Some((first, last)) = range.split_once('-') else {
            let only = value(range)?;
            return Ok((only, only));
        };
        let (begin, end) = (value(first)?, value(last)?);
        Ok((begin, self.last(begin, last, end)))
    }

    /// A number within the range, or a name.
    fn value(&self, text: &str) -> Option<u32> {
        let named = (self.min..).zip(self.names).find(|(_, name)| name.eq_ignore_ascii_case(text));
        let number = digits(text).and_then(|number| u32::try_from(number).ok());
        named.map(|(value, _)| value).or(number).filter(|value| (self.min..=self.max).contains(value))
    }

    /// The end of a range: a week may end with Sunday.
    fn last(&self, first: u32, text: &str, value: u32) -> u32 {
        let ends_week = first > value && text.eq_ignore_ascii_case(SUNDAY);
        if ends_week { self.max } else { value }
    }

    /// What may stand there instead of this.
    fn allowed(&self, text: &str) -> String {
        let letters = text.trim_start_matches(|c: char| c.is_ascii_digit());
        let extended = text.contains(['#', '?', '+', '~'])
            || ["L", "W", "LW", "H"].iter().any(|x| x.eq_ignore_ascii_case(letters));
        let why = if extended { "crontab(5) has no `L`, `W`, `#`, `?`, `+`, `~` or `H`; " } else { "" };
        let names = match (self.names.first(), self.names.last()) {
            (Some(first), Some(last)) => format!(", or {first} to {last}"),
            _ => String::new(),
        };
        format!("{why}allowed: {} to {}{names}", self.min, self.max)
    }
}

/// A number without a sign; one that is too long is the greatest.
fn digits(text: &str) -> Option<usize> {
    let number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number.then(|| text.parse().unwrap_or(usize::MAX))
}

/// The length of a month, in leap years where it differs.
const fn days_of(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// The pattern for croner.
///
/// # Errors
/// The pattern is neither five fields as in crontab(5) nor one of its nicknames, or it is never due.
pub fn crontab(pattern: &str) -> Result<String, Invalid> {
    let wrong = |why: String| Invalid::new("cron", format!("cron: {why}"));
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(wrong(format!("the pattern has {} bytes; at most {PATTERN_BYTES_MAX} bytes", pattern.len())));
    }
    let fields: Vec<&str> = pattern.split_whitespace().collect();
    match *fields.as_slice() {
        [name] if name.starts_with('@') => {
            let known = NICKNAMES.iter().find(|(nickname, _)| name.eq_ignore_ascii_case(nickname));
            known.map(|(_, pattern)| (*pattern).to_owned()).ok_or_else(|| {
                wrong(match name.eq_ignore_ascii_case("@reboot") {
                    true => format!("`@reboot` is no time, and nothing is rebooted here; write {FORMS}"),
                    false => format!("`{}` is unknown; write {FORMS}", name.escape_debug()),
                })
            })
        }
        [minute, hour, day, month, weekday] => {
            let read = |part: Part, field: &str| part.read(field).map_err(wrong);
            let (minutes, hours) = (read(MINUTE, minute)?, read(HOUR, hour)?);
            let (days, months, weekdays) = (read(DAY, day)?, read(MONTH, month)?, read(WEEKDAY, weekday)?);
            // A job runs where day or weekday match. But where one of the two begins with a star, a step included, both
            // must; croner knows that of the star alone, and writes it as a plus.
            let both = [day, weekday].iter().any(|field| field.starts_with('*'));
            let least = days.values.iter().min();
            if both && !months.values.iter().any(|month| least.is_some_and(|day| *day <= days_of(*month))) {
                return Err(wrong(format!(
                    "day is `{day}` and month is `{month}`: no such day ever comes; February has at most 29 days, and \
                     April, June, September and November have 30"
                )));
            }
            let and = if both { "+" } else { "" };
            let [minutes, hours, days, months, weekdays] =
                [minutes, hours, days, months, weekdays].map(|field| field.text);
            Ok(format!("{minutes} {hours} {days} {months} {and}{weekdays}"))
        }
        _ => {
            let count = fields.len();
            let them = if count == 1 { "field" } else { "fields" };
            Err(wrong(format!("the pattern has {count} {them}; write {FORMS}")))
        }
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
            ("0 0 *,3 * MON", "0 0 1-31,3 * +1"),
            ("0 0 3,* * MON", "0 0 3,1-31 * 1"),
            ("0 0 1,15 * 1", "0 0 1,15 * 1"),
            ("0 0 1-31/2 * 1", "0 0 1-31/2 * 1"),
            ("*/5  * 1 * *", "*/5 * 1 * +*"),
            (" @Midnight ", "0 0 * * *"),
            ("@yearly", "0 0 1 1 *"),
        ] {
            assert_eq!(crontab(pattern).unwrap(), meant, "{pattern}");
        }
    }

    #[test]
    fn fields_hold_what_crontab_says() {
        for (pattern, meant) in [
            ("05,35 8-18/2 1 Jan-mar,DEC Mon-Fri", "5,35 8-18/2 1 1-3,12 1-5"),
            ("0 0 13 * fri-sun", "0 0 13 * 5-7"),
            ("0 0 13 * sun-tue", "0 0 13 * 0-2"),
            ("0 0 13 * sun-sun", "0 0 13 * 0"),
            ("0 0 13 * 7", "0 0 13 * 7"),
            ("*/60 */24 1 */12 1", "*/60 */24 1 */12 1"),
            ("0 0 29 2 *", "0 0 29 2 +*"),
            ("0 0 31 2,3 *", "0 0 31 2,3 +*"),
            ("0 0 31 2 mon", "0 0 31 2 1"),
        ] {
            assert_eq!(crontab(pattern).unwrap(), meant, "{pattern}");
        }
    }

    #[test]
    fn f26_what_is_no_pattern_is_told() {
        for (bad, said) in [
            ("", "the pattern has 0 fields; write five fields"),
            ("daily", "the pattern has 1 field; write five fields"),
            ("* * * * * *", "the pattern has 6 fields; write five fields"),
            ("@never", "@hourly"),
            ("@reboot", "no time"),
            ("0 0 , * *", "day is `,`, which lists nothing between its commas"),
            ("0 1,,2 * * *", "hour is `1,,2`, which lists nothing between its commas"),
            ("60 * * * *", "minute is `60`; allowed: 0 to 59"),
            ("0,99999999999999999999 * * * *", "minute is `99999999999999999999`; allowed: 0 to 59"),
            ("-1 * * * *", "minute is `-1`; allowed: 0 to 59"),
            ("+5 * * * *", "minute is `+5`; crontab(5) has no `L`"),
            ("jan * * * *", "minute is `jan`; allowed: 0 to 59"),
            ("0 22-24 * * *", "hour is `22-24`; allowed: 0 to 23"),
            ("0 0 0 * *", "day is `0`; allowed: 1 to 31"),
            ("0 0 1 13 *", "month is `13`; allowed: 1 to 12, or jan to dec"),
            ("0 0 1 july *", "month is `july`; allowed: 1 to 12, or jan to dec"),
            ("0 0 * * 8", "weekday is `8`; allowed: 0 to 7, or sun to sat"),
            ("0 0 * * fri-mon", "weekday is `fri-mon`; a range goes up: write `5-7,0-1`"),
            ("*/100 * * * *", "minute is `*/100`; its step is greater than its range; allowed: 1 to 60"),
            ("10-20/12 * * * *", "minute is `10-20/12`; its step is greater than its range; allowed: 1 to 11"),
            ("*/0 * * * *", "minute is `*/0`; a step is a whole number from 1"),
            ("*/x * * * *", "minute is `*/x`; a step is a whole number from 1"),
            ("5/10 * * * *", "minute is `5/10`; a step needs a range: write `5-59/10`"),
            ("0 0 L * *", "day is `L`; crontab(5) has no `L`"),
            ("0 0 15W * *", "day is `15W`; crontab(5) has no `L`"),
            ("0 0 ? * 1", "day is `?`; crontab(5) has no `L`"),
            ("0 0 * * 1#2", "weekday is `1#2`; crontab(5) has no `L`"),
            ("0 0 * * 5L", "weekday is `5L`; crontab(5) has no `L`"),
            ("0 0 1 * +MON", "weekday is `+MON`; crontab(5) has no `L`"),
            ("0 0 31 2 *", "day is `31` and month is `2`: no such day ever comes"),
            ("0 0 30,31 feb */2", "day is `30,31` and month is `feb`: no such day ever comes"),
            ("0 0 31 4,6,9,11 *", "no such day ever comes"),
        ] {
            let refused = crontab(bad).unwrap_err();
            assert!(refused.field.is_in("cron") && refused.why.contains(said), "{bad}: {refused:?}");
        }
        let long = format!("{} * * * *", "0,".repeat(120));
        assert!(crontab(&long).unwrap_err().why.ends_with("at most 200 bytes"));
    }
}
