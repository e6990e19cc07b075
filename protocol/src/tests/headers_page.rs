//! docs/headers.md says what becomes of each header, written by this test from the table: a page that is not current
//! fails.

use std::fmt::Write;
use std::path::Path;

use crate::headers::{PLAIN, Row, TABLE, ToCaller, ToFunction, UNCOMMON};

fn page() -> String {
    let mut page = String::from(
        "# Headers\n\nWhat of a caller's request reaches a function, and what of its response reaches the caller: the same \
         for calls, for calls\nthat are answered later (`Prefer: respond-async`) and for jobs. A `*` stands for any ending. \
         Case does not matter in a name,\nnor, in a response, does `_` for `-`; a request's names with `_` reach no \
         function.\n\n\
         - **passes**: as it was sent, whatever it is.\n\
         - **in part**: without what is the platform's, or with what the platform adds.\n\
         - **platform's**: the platform's own value, or none; never what the other side wrote.\n\
         - **own host**: only from a host of the function's own (`<function>--<account>....`), not at `/f/...`.\n\
         - **left out**: never.\n\n\
         Written by `cargo xtask doc` from the table in `protocol/src/headers/table.rs`, by which the gateway, the job \
         service and\nthe nodes go.\n\n\
         | header | to a function | to the caller | in a job's output | why |\n| --- | --- | --- | --- | --- |\n",
    );
    for row in TABLE.iter().chain([&UNCOMMON, &PLAIN]) {
        let Row { names, to_function, to_caller, in_output, why, .. } = row;
        let names = match names {
            ["*"] => "all others".to_owned(),
            ["*_*"] => {
                "names with other characters than letters, digits and `-`: `content_length`, `x.name`".to_owned()
            }
            names => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        };
        let to_function = match to_function {
            ToFunction::Passes => "passes",
            ToFunction::InPart => "in part",
            ToFunction::Ours => "platform's",
            ToFunction::LeftOut => "left out",
        };
        let to_caller = match to_caller {
            ToCaller::Passes => "passes",
            ToCaller::InPart => "in part",
            ToCaller::OwnHost => "own host",
            ToCaller::Ours => "platform's",
            ToCaller::LeftOut => "left out",
        };
        let in_output = if *in_output { "yes" } else { "no" };
        writeln!(page, "| {names} | {to_function} | {to_caller} | {in_output} | {why} |").expect("a string");
    }
    page
}

#[test]
fn f16_the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/headers.md");
    if std::env::var_os("CROWDCLOUD_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("docs/headers.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, page(), "docs/headers.md is not current; run `cargo xtask doc`");
}
