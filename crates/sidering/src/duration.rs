//! Durations as Istio and Go write them: `300ms`, `5s`, `1h30m`.

use std::str::FromStr;
use std::time::Duration;

/// A duration that was written by hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written(pub Duration);

impl FromStr for Written {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no duration; write it like 300ms, 5s, 10m or 1h30m");
        let mut rest = text;
        let mut sum = Duration::ZERO;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
            let number: u32 = rest[..digits].parse().map_err(|_| wrong())?;
            let unit = rest[digits..].find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len() - digits);
            let scale = match &rest[digits..digits + unit] {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                _ => return Err(wrong()),
            };
            sum = scale.checked_mul(number).and_then(|part| sum.checked_add(part)).ok_or_else(wrong)?;
            rest = &rest[digits + unit..];
        }
        if text.is_empty() { Err(wrong()) } else { Ok(Self(sum)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        let read = |text: &str| text.parse::<Written>().map(|written| written.0.as_millis());
        assert_eq!(read("300ms"), Ok(300));
        assert_eq!(read("1h30m"), Ok(5_400_000));
        assert_eq!(read("0s"), Ok(0));
        for wrong in ["", "5", "s", "5 s", "-5s", "5d", "1.5s", "99999999999s", "5é"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
