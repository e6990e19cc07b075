//! What is wrong with a body is told with its place.

use serde_json::json;

use crate::api::{CreateKey, CreateVersion};
use crate::field::Field;
use crate::job::{SubmitArray, SubmitJob};
use crate::{Code, Problem, body};

fn version(more: &str) -> Problem {
    let digest = "0".repeat(64);
    body::read::<CreateVersion>(format!("{{\"artifact\":\"{digest}\",{more}}}").as_bytes()).unwrap_err()
}

fn told(problem: &Problem) -> (Code, &str) {
    (problem.code, problem.field.as_ref().unwrap().as_str())
}

#[test]
fn values_have_paths() {
    for (more, field) in [
        (r#""limits":{"cpus":"two"}"#, "limits.cpus"),
        (r#""limits":{"cpus":-1}"#, "limits.cpus"),
        (r#""limits":{"memory":true}"#, "limits.memory"),
        (r#""limits":{"memory":"much"}"#, "limits.memory"),
        (r#""limits":{"colour":1}"#, "limits.colour"),
        (r#""limits":{"cpus":1,"cpus":2}"#, "limits.cpus"),
        (r#""env":{"A.B":1}"#, "env.A.B"),
        (r#""egress":["a",1]"#, "egress[1]"),
        (r#""alias":"-""#, "alias"),
        (r#""lane":"rocket""#, "lane"),
        (r#""surprise":null"#, "surprise"),
    ] {
        let problem = version(more);
        assert_eq!(told(&problem), (Code::InvalidField, field), "{more}: {problem}");
    }
    let missing = body::read::<CreateKey>(br#"{"name":"ci"}"#).unwrap_err();
    assert_eq!(told(&missing), (Code::InvalidField, "scopes"));
    let missing = body::read::<SubmitArray>(br#"{"job":{},"inputs":[]}"#).unwrap_err();
    assert_eq!(told(&missing), (Code::InvalidField, "job.function"));
    assert_eq!(told(&body::read::<CreateKey>(b"3").unwrap_err()), (Code::InvalidField, Field::BODY));
}

#[test]
fn a24_what_is_no_json_is_400_and_what_no_type_holds_is_422() {
    for (more, field) in [
        (r#""limits":{"cpus":NaN}"#, "limits.cpus"),
        (r#""limits":{"memory":Infinity}"#, "limits.memory"),
        (r#""limits":{"timeout":-Infinity}"#, "limits.timeout"),
        (r#""limits":{"timeout":01}"#, "limits.timeout"),
        (r#""egress":[,]"#, "egress[0]"),
    ] {
        let problem = version(more);
        assert_eq!(problem.code, Code::InvalidRequest, "{more}: {problem}");
        assert!(problem.detail.contains("line 1 column "), "{more}: {problem}");
        let named = problem.field.unwrap();
        assert!(named.as_str() == field || named.as_str() == Field::BODY, "{more}: {named}");
    }
    for number in ["1e309", "-1e309", "1e999999", "123456789012345678901234567890", "1.5"] {
        let problem = version(&format!(r#""limits":{{"cpus":{number}}}"#));
        assert_eq!(told(&problem), (Code::InvalidField, "limits.cpus"), "{number}: {problem}");
    }
    // What is asked for as it stands, and documents, are not different.
    let job = body::read::<SubmitJob>(br#"{"function":"f","cpus":1e309}"#).unwrap_err();
    assert_eq!(told(&job), (Code::InvalidField, "cpus"));
    let job = body::read::<SubmitJob>(br#"{"function":"f","input":{"json":{"a":[0,1e309]}}}"#).unwrap_err();
    assert_eq!(told(&job), (Code::InvalidField, "input.json.a[1]"));
    assert_eq!(body::read::<SubmitJob>(br#"{"function":"f","function":NaN}"#).unwrap_err().code, Code::InvalidRequest);
    for broken in [&b"{"[..], b"", b"\xff\xfe", b"{\"function\":\"\xff\"}", b"{} {}", b"{'function':1}"] {
        let problem = body::read::<SubmitJob>(broken).unwrap_err();
        assert_eq!(told(&problem), (Code::InvalidRequest, Field::BODY), "{problem}");
    }
    let deep = format!("{{\"function\":\"f\",\"input\":{{\"json\":{}{}}}}}", "[".repeat(5000), "]".repeat(5000));
    let deep = body::read::<SubmitJob>(deep.as_bytes()).unwrap_err();
    assert_eq!(deep.code, Code::InvalidField);
    assert!(deep.field.unwrap().is_in("input"));
}

#[test]
fn a24_an_object_is_an_object_at_every_depth() {
    #[derive(Debug, PartialEq, serde::Deserialize)]
    enum Shape {
        Round { radius: u32 },
        Pair(u32, u32),
        Of(CreateKey),
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Outer {
        #[serde(default)]
        keys: Vec<CreateKey>,
        #[serde(default)]
        key: Option<Box<CreateKey>>,
        #[serde(default)]
        shape: Option<Shape>,
        #[serde(default)]
        named: std::collections::BTreeMap<String, CreateKey>,
    }
    let refused = |body: &str| {
        let problem = body::read::<Outer>(body.as_bytes()).unwrap_err();
        (problem.code, problem.field.unwrap().to_string())
    };
    let at = |field: &str| (Code::InvalidField, field.to_owned());
    for (body, field) in [
        ("[]", "$"),
        ("[[]]", "$"),
        (r#"{"keys":[["ci",["read"]]]}"#, "keys[0]"),
        (r#"{"keys":[{"name":"ci","scopes":[]},["ci",[]]]}"#, "keys[1]"),
        (r#"{"key":["ci",["read"]]}"#, "key"),
        (r#"{"named":{"a":["ci",["read"]]}}"#, "named.a"),
    ] {
        assert_eq!(refused(body), at(field), "{body}");
    }
    for body in [r#"{"shape":{"Round":[1]}}"#, r#"{"shape":{"Of":["ci",["read"]]}}"#] {
        assert!(body::read::<Outer>(body.as_bytes()).unwrap_err().field.unwrap().is_in("shape"), "{body}");
    }
    for body in [&b"[\"ci\",[\"read\"]]"[..], b"[]", b"[true]", b" [ ] "] {
        let problem = body::read::<CreateKey>(body).unwrap_err();
        assert_eq!(told(&problem), (Code::InvalidField, Field::BODY), "{problem}");
        assert!(problem.detail.contains("an object"), "{problem}");
    }
    // What is a list, stays one.
    let pair = body::read::<Outer>(br#"{"shape":{"Pair":[1,2]}}"#).unwrap();
    assert_eq!(pair.shape, Some(Shape::Pair(1, 2)));
    let round = body::read::<Outer>(br#"{"shape":{"Round":{"radius":1}},"key":null}"#).unwrap();
    assert_eq!(round.shape, Some(Shape::Round { radius: 1 }));
    let job = br#"{"function":"f","headers":[["a","b"]],"input":{"json":[1,{"a":[2]},null]},"cpus":2}"#;
    let job = body::read::<SubmitJob>(job).unwrap();
    assert_eq!(job.headers, [("a".to_owned(), "b".into())]);
    assert_eq!((job.input.is_some(), job.cpus), (true, Some(2.into())));
}

#[test]
fn a24_no_object_names_a_member_twice() {
    for (body, field) in [
        (r#"{"function":"f","labels":{"a":"1","a":"2"}}"#, "labels.a"),
        (r#"{"function":"f","labels":{"a":"1","\u0061":"1"}}"#, "labels.a"),
        (r#"{"function":"f","function":"g"}"#, "function"),
        (r#"{"function":"f","input":{"json":{"a":[{"b":1,"b":1}]}}}"#, "input.json.a[0].b"),
    ] {
        let problem = body::read::<SubmitJob>(body.as_bytes()).unwrap_err();
        assert_eq!(told(&problem), (Code::InvalidField, field), "{body}: {problem}");
    }
    assert_eq!(told(&version(r#""env":{"A":"1","B":"2","A":"3"}"#)), (Code::InvalidField, "env.A"));
}

#[test]
fn f03_what_is_json_says_so() {
    for good in ["application/json", "Application/JSON; charset=utf-8", " application/json ;x", "application/ld+json"] {
        assert!(body::is_json(good.as_bytes()), "{good}");
    }
    for bad in [
        "text/plain;json",
        "text/plain; x=application/json",
        "multipart/form-data; boundary=json",
        "application/x-www-form-urlencoded",
        "text/json",
        "application/jsonp",
        "json",
        "+json",
        "a/b c+json",
        "text/plain, application/json",
        "",
    ] {
        assert!(!body::is_json(bad.as_bytes()), "{bad}");
    }
}

#[test]
fn what_is_said_has_a_bound() {
    let long = json!({"artifact": "x".repeat(1 << 20), "y".repeat(1 << 20): 1}).to_string();
    let problem = body::read::<CreateVersion>(long.as_bytes()).unwrap_err();
    assert!(problem.to_json().len() < 2000);
}

#[test]
fn fields_are_paths() {
    let field = Field::from("limits").key("cpus");
    assert!(field.is_in("limits") && field.is_in("limits.cpus") && !field.is_in("limit") && !field.is_in("cpus"));
    assert_eq!(Field::from("inputs").index(2).key("text").as_str(), "inputs[2].text");
    assert_eq!(field.under(&Field::from("job")).as_str(), "job.limits.cpus");
    assert_eq!(field.below("limits").as_str(), "cpus");
    assert_eq!(Field::body().under(&Field::from("job")).as_str(), "job");
    assert_eq!(Field::body().key("job").as_str(), "job");
    let problem = Problem::from(Code::MissingAccount).under(&Field::from("job"));
    assert_eq!(told(&problem), (Code::MissingAccount, crate::headers::ACCOUNT), "a header is in no body");
}
