//! docs/errors.md is the catalogue of errors, written by this test: a page that is not current fails.

use std::fmt::Write;
use std::path::Path;

use crate::Code;

fn page() -> String {
    let mut page = String::from(
        "# Errors\n\nEvery refused request answers with a problem document (RFC 9457, `application/problem+json`): \
         a stable `code`, what was\nwrong, what to do, and whether the same request may succeed later.\n\n\
         A problem about an input names it in `field`, for forms and programs: a value of a JSON body by its path, with \
         dots and\nindexes (`limits.cpus`, `shares[0].weight`; `$` is the whole body), a parameter or a header by its \
         name (`cursor`,\n`If-Match`). Go by `code` and `field`: the words may change. The codes marked so have it \
         always, others wherever an input\nis to blame. A body that is no JSON is 400 with the position; JSON with a \
         value that is not allowed is 422.\n\n\
         Bytes that are no HTTP/1.1, or a head beyond every bound, are refused with 400, 414 or 431, and the connection \
         closes. As the first\nrequest of a connection they get a document, too; as a later one the bare status.\n\n\
         Written by `cargo xtask doc` from the catalogue in `protocol/src/error.rs`.\n\n\
         | code | status | again? | field | what it means | what to do |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for code in Code::ALL {
        let again = if code.retry() { "yes" } else { "no" };
        let field = match code.header() {
            Some(header) => format!("`{header}`"),
            None if code.needs_field() => "always".to_owned(),
            None => String::new(),
        };
        let (status, title, help) = (code.status(), code.title(), code.help());
        writeln!(page, "| <a id=\"{code}\"></a>`{code}` | {status} | {again} | {field} | {title} | {help} |")
            .expect("a string");
    }
    page
}

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
    if std::env::var_os("CROWDCLOUD_WRITE_DOCS").is_some() {
        std::fs::write(&path, page()).expect("docs/errors.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, page(), "docs/errors.md is not current; run `cargo xtask doc`");
}
