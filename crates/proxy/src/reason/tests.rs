//! The table against docs/reasons.md, and what replies may say.

use std::collections::BTreeSet;

use super::Reason;

const DOCUMENT: &str = include_str!("../../../../docs/reasons.md");

/// The cells of every row that begins with a reason's name.
fn rows() -> Vec<Vec<&'static str>> {
    let row = |line: &'static str| {
        line.strip_prefix("| `")?.strip_suffix(" |").map(|row| row.split(" | ").collect())
    };
    DOCUMENT.lines().filter_map(row).collect()
}

#[test]
fn every_reason_has_its_row_and_every_row_its_reason() {
    let dash = |status: Option<String>| status.unwrap_or_else(|| "-".to_owned());
    let expected: Vec<[String; 4]> = Reason::ALL
        .iter()
        .map(|reason| {
            [
                format!("{}`", reason.name()),
                dash(reason.status().map(|status| status.to_string())),
                dash(reason.status().map(|_| reason.grpc_status().to_string())),
                format!("`{}`", reason.flag()),
            ]
        })
        .collect();
    let documented: Vec<Vec<String>> =
        rows().iter().map(|row| row[..4].iter().map(|cell| (*cell).to_owned()).collect()).collect();
    assert_eq!(documented, expected);
}

#[test]
fn every_row_says_what_happened_where_to_look_and_what_helps() {
    for row in rows() {
        assert_eq!(row.len(), 7, "{row:?}");
        assert!(row[4..].iter().all(|cell| cell.len() > 3), "{row:?}");
    }
}

#[test]
fn names_are_kebab_case_and_unique() {
    let names: BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
    assert_eq!(names.len(), Reason::ALL.len());
    assert!(names.iter().all(|name| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')));
}

#[test]
fn a_reply_says_no_more_than_the_name() {
    for reason in Reason::ALL {
        let allowed =
            ["RBAC: access denied".to_owned(), String::new(), format!("sidering: {}", reason.name())];
        assert!(allowed.contains(&reason.body()), "{}", reason.body());
    }
    assert_eq!(Reason::NotAllowedByPolicy.body(), "RBAC: access denied");
    assert_eq!(Reason::DeniedByPolicy.status(), Some(403));
    assert_eq!(Reason::DeniedByPolicy.grpc_status(), 7);
}
