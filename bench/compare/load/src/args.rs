//! `--KEY VALUE` pairs.

use std::collections::HashMap;
use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use crate::Result;

pub struct Args(HashMap<String, String>);

impl Args {
    pub fn parse(words: impl Iterator<Item = String>) -> Result<Self> {
        let mut words = words;
        let mut pairs = HashMap::new();
        while let Some(key) = words.next() {
            let key = key.strip_prefix("--").ok_or_else(|| format!("{key}: expected --KEY VALUE"))?;
            let value = words.next().ok_or_else(|| format!("--{key} has no value"))?;
            pairs.insert(key.to_owned(), value);
        }
        Ok(Self(pairs))
    }

    pub fn text(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    pub fn required(&self, key: &str) -> Result<&str> {
        self.text(key).ok_or_else(|| format!("--{key} is missing").into())
    }

    pub fn number<T: FromStr<Err: Display>>(&self, key: &str, default: T) -> Result<T> {
        self.text(key)
            .map_or(Ok(default), |text| text.parse().map_err(|error| format!("--{key}: {error}").into()))
    }

    pub fn seconds(&self, key: &str, default: f64) -> Result<Duration> {
        Ok(Duration::from_secs_f64(self.number(key, default)?))
    }
}
