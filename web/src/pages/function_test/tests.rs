//! What "as curl" and "as CLI" print.

use super::{Words, normal_path, parse_headers};

fn words(method: &str) -> Words {
    Words {
        method: method.to_owned(),
        path: "/a?width=320&x=1".to_owned(),
        reference: String::new(),
        headers: vec![("accept".to_owned(), "image/jpeg".to_owned())],
        text: "it's".to_owned(),
        file: None,
    }
}

#[test]
fn a_get_has_no_body() {
    let curl = words("GET").curl("http://localhost:8080/f/ada/thumbs", true);
    assert_eq!(
        curl,
        "curl -i \\\n  -H 'accept: image/jpeg' \\\n  'http://localhost:8080/f/ada/thumbs/a?width=320&x=1'"
    );
}

#[test]
fn a_private_call_carries_a_key_and_its_body() {
    let curl = Words { reference: "v2".into(), ..words("PUT") }.curl("http://h/f/ada/thumbs", false);
    assert!(curl.contains("-X PUT"), "{curl}");
    assert!(curl.contains("Bearer $(crowdcloud token)"), "{curl}");
    assert!(curl.contains(r"--data-binary 'it'\''s'"), "{curl}");
    assert!(curl.contains("thumbs@v2/a?"), "{curl}");
}

#[test]
fn the_command_reads_a_file_or_stdin() {
    let file = Words { file: Some("photo.jpg".into()), ..words("POST") }.cli("thumbs", "ada");
    assert!(file.ends_with("-X POST -H 'accept: image/jpeg' -d @photo.jpg --account ada"), "{file}");
    let text = words("POST").cli("thumbs", "ada");
    assert!(text.starts_with(r"printf %s 'it'\''s' | crowdcloud invoke thumbs"), "{text}");
}

#[test]
fn headers_are_lines() {
    assert_eq!(parse_headers("a: b\n\n c:d:e "), Ok(vec![("a".into(), "b".into()), ("c".into(), "d:e".into())]));
    assert_eq!(parse_headers("nonsense"), Err("nonsense".to_owned()));
}

#[test]
fn paths_begin_with_a_slash() {
    assert_eq!([normal_path(""), normal_path("a?b"), normal_path(" /c ")], ["/", "/a?b", "/c"]);
}
