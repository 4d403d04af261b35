//! Files as they were parsed last: only what has changed is parsed again. Called by `resources`.

use std::collections::HashMap;
use std::sync::Arc;

use sidering_istio::{Diagnostic, Findings, Parsed, Resources, join};
use zeroize::Zeroizing;

use crate::quiet::Contents;
use crate::resources::{LoadFailure, source};

/// The files of the last load, by name.
#[derive(Default)]
pub(crate) struct ParsedFiles(Vec<Arc<File>>);

struct File {
    name: Arc<str>,
    content: Zeroizing<Vec<u8>>,
    parsed: Parsed,
}

impl ParsedFiles {
    /// All that these files say.
    ///
    /// # Errors
    /// One of them is empty, or no text.
    pub(crate) fn read(&mut self, contents: Contents) -> Result<(Resources, Vec<Diagnostic>), LoadFailure> {
        let before: HashMap<&str, &Arc<File>> = self.0.iter().map(|file| (&*file.name, file)).collect();
        let mut findings = Findings::default();
        let mut files = Vec::new();
        for (path, content) in contents {
            let source = source(&path, &content)?;
            let known = before.get(&*source.file).filter(|known| known.content == content);
            files.push(match known.filter(|known| known.parsed.reuse(&mut findings)) {
                Some(known) => Arc::clone(known),
                None => {
                    let (name, parsed) = (source.file.clone(), Parsed::of(&source, &mut findings));
                    Arc::new(File { name, content, parsed })
                }
            });
        }
        // So that it does not show in diagnostics in which order they were listed.
        files.sort_by(|a, b| a.name.cmp(&b.name));
        self.0 = files;
        Ok(join(self.0.iter().map(|file| &file.parsed), findings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_has_changed_is_parsed_again() {
        let set = |files: &[(&str, &str)]| {
            files.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec().into())).collect()
        };
        let mut files = ParsedFiles::default();
        files.read(set(&[("a", "# 1"), ("b", "# 2"), ("c", "# 3")])).unwrap();
        let before = files.0.clone();
        files.read(set(&[("a", "# 1"), ("b", "# 3"), ("d", "# 3")])).unwrap();
        let same = |index: usize| Arc::ptr_eq(&before[index], &files.0[index]);
        assert_eq!([same(0), same(1), same(2)], [true, false, false]);
        assert!(files.read(set(&[("a", "")])).is_err());
        assert_eq!(files.0.len(), 3);
    }

    #[test]
    fn what_was_found_in_a_file_is_found_again() {
        let gateway = |name| -> Zeroizing<Vec<u8>> {
            let api = "networking.istio.io/v1";
            format!("apiVersion: {api}\nkind: Gateway\nmetadata: {{name: {name}}}\n").into_bytes().into()
        };
        let policy = b"apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p}\n\
                       spec: {action: DENI}\n";
        let mut files = ParsedFiles::default();
        let mut found = |last| {
            let set = vec![
                ("a".into(), gateway("a")),
                ("b".into(), policy.to_vec().into()),
                ("c".into(), gateway(last)),
            ];
            let (_, diagnostics) = files.read(set.clone()).unwrap();
            assert_eq!(diagnostics, ParsedFiles::default().read(set).unwrap().1);
            diagnostics.iter().map(Diagnostic::is_error).collect::<Vec<_>>()
        };
        assert_eq!(found("c"), [false, true, false]);
        assert_eq!(found("d"), [false, true, false]);
    }

    #[test]
    fn a_file_that_is_listed_twice_defines_everything_twice() {
        let text = "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {}\n";
        let mut files = ParsedFiles::default();
        for _ in 0..2 {
            let content: Zeroizing<Vec<u8>> = text.as_bytes().to_vec().into();
            let twice = vec![("a".into(), content.clone()), ("a".into(), content)];
            let (_, diagnostics) = files.read(twice).unwrap();
            assert!(
                diagnostics.iter().any(|d| d.message.contains("already defined at a:1:1")),
                "{diagnostics:?}"
            );
        }
    }
}
