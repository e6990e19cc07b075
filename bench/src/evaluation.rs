//! EVALUATION.md: the measured figures, for people.

use std::fmt::Write as _;

use crate::figures::{Report, round};

/// The whole page.
pub(crate) fn page(reports: &[&Report], simulations: &[String]) -> String {
    let mut text = String::from(
        "# Evaluation\n\nWritten by `cargo xtask bench all`. Each figure is the median of its rounds, with the \
         smallest and the largest; ratios are taken round by round.\n",
    );
    for report in reports {
        let rounds = report.settings["rounds"].as_u64().unwrap_or_default();
        let _ = writeln!(
            text,
            "\n## {}\n\n{}; {}; {rounds} rounds; {}.\n",
            report.benchmark, report.machine, report.machine.rustc, report.at
        );
        text.push_str(
            "| what | connections | figure | median | min | max |\n| --- | ---: | --- | ---: | ---: | ---: |\n",
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
        text.push_str("\n| check | held | found |\n| --- | --- | --- |\n");
        for check in &report.checks {
            let _ =
                writeln!(text, "| {} | {} | {} |", check.what, if check.held { "yes" } else { "**no**" }, check.found);
        }
    }
    for simulation in simulations {
        let _ = writeln!(text, "\n## simulated\n\n{simulation}");
    }
    text
}
