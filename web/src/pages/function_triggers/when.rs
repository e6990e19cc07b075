//! When a trigger is due, on the clock of its zone. The platform decides; this is for people who write a pattern.

use std::str::FromStr as _;

use chrono::{DateTime, NaiveDateTime, Utc};
use croner::Cron;
use wasm_bindgen::prelude::*;
use web_sys::js_sys::{Array, Date, Function, Intl, Object, Reflect, global};

/// A clock's reading in some zone, which stands here as if it were UTC.
pub(super) type Reading = DateTime<Utc>;

/// The times of a pattern after this one.
pub(super) fn following(pattern: &str, after: Reading, count: usize) -> Result<Vec<Reading>, String> {
    let pattern = protocol::cron::crontab(pattern).map_err(|invalid| format!("{}.", invalid.why))?;
    let cron = Cron::from_str(&pattern).map_err(|error| error.to_string())?;
    let mut times = Vec::with_capacity(count);
    let mut last = after;
    while times.len() < count {
        let Ok(next) = cron.find_next_occurrence(&last, false) else { break };
        times.push(next);
        last = next;
    }
    Ok(times)
}

/// `Mon 23 Nov 2026, 08:30`
pub(super) fn words(at: Reading) -> String {
    at.format("%a %-d %b %Y, %H:%M").to_string()
}

/// What the clocks of a zone show at this time; none where there is no such zone.
pub(super) fn wall_clock(zone: &str, at_ms: i64) -> Option<Reading> {
    #[allow(clippy::cast_precision_loss, reason = "milliseconds since 1970 fit")]
    let date = Date::new(&JsValue::from_f64(at_ms as f64));
    let options = Object::new();
    Reflect::set(&options, &"timeZone".into(), &zone.into()).ok()?;
    // A zone that is none makes it throw, which the typed call does not catch.
    let tell: Function = Reflect::get(&date, &"toLocaleString".into()).ok()?.dyn_into().ok()?;
    let told = tell.call2(&date, &"sv-SE".into(), &options).ok()?.as_string()?;
    reading(&told)
}

/// `2026-11-22 18:30:00`
fn reading(told: &str) -> Option<Reading> {
    NaiveDateTime::parse_from_str(told, "%Y-%m-%d %H:%M:%S").ok().map(|read| read.and_utc())
}

/// The browser's own zone.
pub(super) fn own_zone() -> String {
    let options = Intl::DateTimeFormat::new(&Array::new(), &Object::new()).resolved_options();
    let zone = Reflect::get(&options, &"timeZone".into()).ok().and_then(|zone| zone.as_string());
    zone.unwrap_or_else(|| "UTC".to_owned())
}

/// All zones that the browser knows.
pub(super) fn zones() -> Vec<String> {
    let listed = || {
        let intl = Reflect::get(&global(), &"Intl".into()).ok()?;
        let list: Function = Reflect::get(&intl, &"supportedValuesOf".into()).ok()?.dyn_into().ok()?;
        list.call1(&intl, &"timeZone".into()).ok()?.dyn_into::<Array>().ok()
    };
    listed().map(|zones| zones.iter().filter_map(|zone| zone.as_string()).collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{following, reading, words};

    #[test]
    fn the_next_times_are_told() {
        let friday = reading("2026-11-20 09:00:00").unwrap();
        let times = following("30 8 * * 1-5", friday, 2).unwrap();
        let told: Vec<String> = times.into_iter().map(words).collect();
        assert_eq!(told, ["Mon 23 Nov 2026, 08:30", "Tue 24 Nov 2026, 08:30"]);
        assert_eq!(following("@hourly", friday, 1).map(|times| words(times[0])), Ok("Fri 20 Nov 2026, 10:00".into()));
        let odd_mondays = following("0 0 */2 * 1", friday, 1).map(|times| words(times[0]));
        assert_eq!(odd_mondays, Ok("Mon 23 Nov 2026, 00:00".into()), "day and weekday, as on the platform");
    }

    #[test]
    fn what_is_no_pattern_is_told_while_it_is_written() {
        let now = reading("2026-11-20 09:00:00").unwrap();
        for bad in ["", "* * *", "61 * * * *", "* * * * * *", "@never"] {
            assert!(following(bad, now, 1).is_err(), "{bad}");
        }
        assert!(reading("20/11/2026").is_none());
    }
}
