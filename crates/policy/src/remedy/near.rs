//! Texts that are almost the same: a name that somebody mistyped.

/// Longer texts are not compared: the work grows with the product of their lengths.
const LONGEST: usize = 512;

/// How many letters are inserted, left out or exchanged between two texts; `None` where they are too long to compare.
pub(super) fn distance(a: &str, b: &str) -> Option<usize> {
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let exchanged = diagonal + usize::from(!x.eq_ignore_ascii_case(y));
            diagonal = row[j + 1];
            row[j + 1] = exchanged.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied()
}

/// Is one likely a slip for the other? The longer they are, the more letters may differ; case does not count.
pub(super) fn is_slip(a: &str, b: &str) -> bool {
    let most = match a.len().min(b.len()) {
        0..4 => 0,
        4..10 => 1,
        10..20 => 2,
        _ => 3,
    };
    a.len().abs_diff(b.len()) <= most && distance(a, b).is_some_and(|distance| distance <= most)
}

#[cfg(test)]
mod tests {
    use super::{distance, is_slip};

    #[test]
    fn letters_between_two_texts() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("Ab", "aB", 0),
            ("é", "e", 1),
        ] {
            assert_eq!(distance(a, b), Some(expected), "{a} {b}");
            assert_eq!(distance(b, a), Some(expected), "{b} {a}");
        }
        assert_eq!(distance(&"a".repeat(600), "a"), None);
    }

    #[test]
    fn slips() {
        for (a, b) in [
            ("orders", "order"),
            ("get", "GET"),
            ("/orders/", "/orders"),
            ("ns/shop/sa/web-frontend", "ns/shop/sa/web-forntend"),
        ] {
            assert!(is_slip(a, b), "{a} {b}");
        }
        for (a, b) in
            [("a", "b"), ("GET", "PUT"), ("orders", "billing"), ("ns/shop/sa/web", "ns/bank/sa/web")]
        {
            assert!(!is_slip(a, b), "{a} {b}");
        }
    }
}
