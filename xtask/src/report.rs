//! Reads nextest's JUnit report: how many passed, which were slow.

/// One test's line.
#[derive(Debug, Clone, PartialEq)]
struct Case {
    name: String,
    seconds: f64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// All tests of a run.
#[derive(Debug, Default)]
pub(crate) struct Report {
    cases: Vec<Case>,
}

/// How many of the slowest tests are worth naming.
const SLOWEST: usize = 15;

impl Report {
    /// Reads what nextest writes: `<testcase name classname time>`, with `<failure>` or `<skipped>` inside.
    pub(crate) fn parse(xml: &str) -> Self {
        let cases = xml.split("<testcase ").skip(1).map(|text| {
            let (head, rest) = text.split_once('>').unwrap_or((text, ""));
            let inside = if head.ends_with('/') { "" } else { rest.split("</testcase>").next().unwrap_or_default() };
            let outcome = match inside {
                inside if inside.contains("<failure") || inside.contains("<error") => Outcome::Failed,
                inside if inside.contains("<skipped") => Outcome::Skipped,
                _ => Outcome::Passed,
            };
            let value = |name| attribute(head, name).unwrap_or_default();
            Case {
                name: format!("{} {}", value("classname"), value("name")),
                seconds: value("time").parse().unwrap_or_default(),
                outcome,
            }
        });
        Self { cases: cases.collect() }
    }

    pub(crate) fn passed(&self) -> usize {
        self.count(Outcome::Passed)
    }

    pub(crate) fn failed(&self) -> usize {
        self.count(Outcome::Failed)
    }

    pub(crate) fn skipped(&self) -> usize {
        self.count(Outcome::Skipped)
    }

    fn count(&self, outcome: Outcome) -> usize {
        self.cases.iter().filter(|case| case.outcome == outcome).count()
    }

    /// The slowest tests, slowest first.
    pub(crate) fn slowest(&self) -> String {
        let mut cases: Vec<&Case> = self.cases.iter().collect();
        cases.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        let lines = cases.iter().take(SLOWEST).map(|case| format!("{:>7.1} s  {}\n", case.seconds, case.name));
        std::iter::once("the slowest tests:\n".to_owned()).chain(lines).collect()
    }
}

fn attribute(head: &str, name: &str) -> Option<String> {
    let (_, rest) = head.split_once(&format!("{name}=\""))?;
    // ` name="` is part of `classname="` too: only a whole word counts.
    let before = head.len() - rest.len() - name.len() - 2;
    if before > 0 && !head[..before].ends_with(' ') {
        return attribute(rest, name);
    }
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_counted_and_sorted() {
        let xml = r#"<testsuites><testsuite name="a">
            <testcase name="fast" classname="fabric" timestamp="x" time="0.010"></testcase>
            <testcase classname="tests" name="slow" time="12.5"><failure type="t">boom</failure></testcase>
            <testcase name="other" classname="store" time="0.2"/>
        </testsuite></testsuites>"#;
        let report = Report::parse(xml);
        assert_eq!((report.passed(), report.failed(), report.skipped()), (2, 1, 0));
        let slowest = report.slowest();
        assert!(slowest.lines().nth(1).unwrap().ends_with("tests slow"), "{slowest}");
        assert!(slowest.contains("store other"), "{slowest}");
    }
}
