//! What a large chart shows, as `web/charts/charts.js` reads it.

use serde::Serialize;

/// The form of a chart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Bars over time, each of its parts.
    #[default]
    Bars,
    /// Lines over time.
    Lines,
    /// Shares of one whole.
    Ring,
}

/// A place of the axis of time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    /// On the axis.
    pub(crate) short: String,
    /// In the tip and in tables.
    pub(crate) long: String,
}

/// Values of one thing, one for each place; of a ring, one value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Series {
    /// What it is.
    pub(crate) name: String,
    /// A colour of the style sheets, by name: `good` is `--good`.
    pub(crate) colour: String,
    /// None where there is nothing to draw.
    pub(crate) values: Vec<Option<f64>>,
    /// A line above bars.
    pub(crate) line: bool,
    /// Drawn as something that is compared with.
    pub(crate) dashed: bool,
    /// Drawn as something that is not there yet.
    pub(crate) hatched: bool,
    /// A click leads to its rows.
    pub(crate) linked: bool,
}

impl Series {
    /// A plain one.
    pub(crate) fn new(name: impl Into<String>, colour: impl Into<String>, values: Vec<Option<f64>>) -> Self {
        let (name, colour) = (name.into(), colour.into());
        Self { name, colour, values, line: false, dashed: false, hatched: false, linked: false }
    }

    /// With rows behind it.
    pub(crate) fn linked(mut self) -> Self {
        self.linked = true;
        self
    }
}

/// What happened at a place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Mark {
    /// Which place, from 0.
    pub(crate) place: usize,
    /// What.
    pub(crate) name: String,
}

/// One chart.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Model {
    pub(crate) kind: Kind,
    /// Its title.
    pub(crate) name: String,
    /// What it shows, for those who do not see it.
    pub(crate) text: String,
    pub(crate) places: Vec<Place>,
    pub(crate) series: Vec<Series>,
    pub(crate) marks: Vec<Mark>,
    /// Values are whole numbers.
    pub(crate) whole: bool,
}

impl Model {
    /// As the script takes it.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Whether there is anything to draw.
    pub(crate) fn is_empty(&self) -> bool {
        let drawn = |series: &Series| series.values.iter().flatten().any(|value| *value != 0.0);
        !self.series.iter().any(drawn)
    }
}

/// The colour of the nth of several things that have none of their own.
pub(crate) fn colour(number: usize) -> String {
    if number < COLOURS { format!("chart-{}", number + 1) } else { OTHER.to_owned() }
}

/// So many things have a colour each; the rest is together.
pub(crate) const COLOURS: usize = 8;
/// The colour of what is together.
pub(crate) const OTHER: &str = "chart-other";

#[cfg(test)]
mod tests {
    use super::{Kind, Model, Series, colour};

    #[test]
    fn the_script_reads_what_is_written() {
        let series = Series::new("2xx", "good", vec![Some(1.0), None]).linked();
        let model = Model {
            kind: Kind::Bars,
            name: "Requests".to_owned(),
            text: String::new(),
            places: Vec::new(),
            series: vec![series],
            marks: Vec::new(),
            whole: true,
        };
        let json = model.json();
        assert!(json.contains(r#""kind":"bars""#) && json.contains(r#""values":[1.0,null]"#), "{json}");
        assert!(!model.is_empty());
        let nothing = Model { series: vec![Series::new("2xx", "good", vec![Some(0.0), None])], ..model };
        assert!(nothing.is_empty());
        assert_eq!((colour(0), colour(7), colour(8)), ("chart-1".into(), "chart-8".into(), "chart-other".into()));
    }
}
