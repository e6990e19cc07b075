//! EVALUATION.md: the measured figures, for people. A section for each benchmark; one that is measured again takes the
//! place of its older self, and the others stay with their own machine and date.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Context as _;

use crate::figures::{Report, round};

const FILE: &str = "EVALUATION.md";
const HEAD: &str = "# Evaluation\n\nWritten by `cargo xtask bench WHAT --evaluation`, a section each, or by `bench all`. \
                    Each figure is the median of its rounds, with the smallest and the largest; ratios are taken round \
                    by round.\n";

/// A part of the page, from its heading to the next.
pub(crate) struct Section {
    title: String,
    text: String,
}

impl Section {
    /// What a benchmark found.
    pub(crate) fn of(report: &Report) -> Self {
        let rounds = report.settings["rounds"].as_u64().unwrap_or_default();
        let mut text = format!(
            "{}; {}; {rounds} rounds; {}.\n\n\
             | what | connections | figure | median | min | max |\n| --- | ---: | --- | ---: | ---: | ---: |\n",
            report.machine, report.machine.rustc, report.at
        );
        for figure in &report.figures {
            let connections = figure.connections.map_or_else(String::new, |count| count.to_string());
            let [median, min, max] = [figure.median, figure.min, figure.max].map(round);
            let _ = writeln!(text, "| {} | {connections} | {} | {median} | {min} | {max} |", figure.of, figure.figure);
        }
        if !report.goals.is_empty() {
            text.push_str("\n| goal | wanted | found | met |\n| --- | --- | ---: | --- |\n");
        }
        for goal in &report.goals {
            let met = if goal.met { "yes" } else { "**no**" };
            let _ = writeln!(text, "| {} | {} | {} | {met} |", goal.what, goal.wanted(), round(goal.found));
        }
        if !report.checks.is_empty() {
            text.push_str("\n| check | held | found |\n| --- | --- | --- |\n");
        }
        for check in &report.checks {
            let _ =
                writeln!(text, "| {} | {} | {} |", check.what, if check.held { "yes" } else { "**no**" }, check.found);
        }
        Self { title: report.benchmark.to_owned(), text }
    }

    /// What the simulator found.
    pub(crate) fn simulated(table: &str) -> Self {
        Self { title: "simulated".to_owned(), text: format!("{}\n", table.trim_end()) }
    }
}

/// Puts the sections into the page that is there, or begins one.
pub(crate) fn write(sections: Vec<Section>) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(Path::new(FILE)).unwrap_or_default();
    std::fs::write(FILE, with(&page, sections)).with_context(|| format!("{FILE} cannot be written"))?;
    crate::say(&format!("wrote {FILE}"));
    Ok(())
}

/// The page with these sections where the first of the same title stood, or at its end.
fn with(page: &str, sections: Vec<Section>) -> String {
    let mut kept: Vec<Section> = page
        .split("\n## ")
        .skip(1)
        .filter_map(|part| {
            let (title, text) = part.split_once('\n')?;
            Some(Section { title: title.to_owned(), text: format!("{}\n", text.trim()) })
        })
        .collect();
    for title in sections.iter().map(|section| section.title.clone()).collect::<std::collections::BTreeSet<_>>() {
        let place = kept.iter().position(|section| section.title == title).unwrap_or(kept.len());
        kept.retain(|section| section.title != title);
        let new = sections.iter().filter(|section| section.title == title);
        let new: Vec<Section> =
            new.map(|section| Section { title: title.clone(), text: section.text.clone() }).collect();
        kept.splice(place..place, new);
    }
    let mut text = HEAD.to_owned();
    for section in kept {
        let _ = write!(text, "\n## {}\n\n{}", section.title, section.text);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(title: &str, text: &str) -> Section {
        Section { title: title.to_owned(), text: format!("{text}\n") }
    }

    #[test]
    fn a_section_takes_its_older_selfs_place_and_others_stay() {
        let first = with("", vec![section("vm", "old"), section("invoke", "one"), section("invoke", "two")]);
        let second = with(&first, vec![section("invoke", "new"), section("jobs", "more")]);
        let expected = format!("{HEAD}\n## invoke\n\nnew\n\n## vm\n\nold\n\n## jobs\n\nmore\n");
        assert_eq!(second, expected);
        assert_eq!(with(&second, Vec::new()), second, "a page reads as it was written");
    }
}
