//! The catalogue of errors is stable and complete.

use std::collections::BTreeSet;

use crate::{Code, Problem};

#[test]
fn every_code_is_whole() {
    let texts: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(texts.len(), Code::ALL.len(), "two codes have one text");
    for code in Code::ALL {
        assert_eq!(serde_json::to_value(code).unwrap(), code.as_str());
        assert_eq!(serde_json::from_value::<Code>(code.as_str().into()).unwrap(), *code);
        assert!((400..600).contains(&code.status()), "{code}");
        assert!(!code.title().is_empty() && code.help().ends_with(['.', '?']), "{code}");
        assert!(!code.retry() || matches!(code.status(), 408 | 409 | 429 | 500..), "{code} cannot be worth a retry");
    }
}

#[test]
fn a_problem_is_as_rfc_9457_says() {
    let problem = Problem::new(Code::Trap, "it trapped").about("run_1");
    let json: serde_json::Value = serde_json::from_slice(&problem.to_json()).unwrap();
    assert_eq!(json["type"], "/docs/errors#trap");
    assert_eq!((&json["status"], &json["code"]), (&502.into(), &"trap".into()));
    assert_eq!((&json["detail"], &json["instance"]), (&"it trapped".into(), &"run_1".into()));
    assert_eq!(serde_json::from_value::<Problem>(json).unwrap(), problem);
}
