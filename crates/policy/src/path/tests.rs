//! The four modes of normalization in tables, and what must hold of any input.

use std::borrow::Cow;

use proptest::prelude::*;

use super::PathNormalization::{self, Base, DecodeAndMergeSlashes, MergeSlashes, None as Off};
use super::{normalize_path, path_of};

#[test]
fn targets() {
    for (target, base, merged, decoded) in [
        ("/", "/", "/", "/"),
        ("/a/b?x=/../y", "/a/b?x=/../y", "/a/b?x=/../y", "/a/b?x=/../y"),
        ("/a#frag?x", "/a", "/a", "/a"),
        ("/a?x#frag", "/a?x", "/a?x", "/a?x"),
        ("/a/./b", "/a/b", "/a/b", "/a/b"),
        ("/a/../b", "/b", "/b", "/b"),
        ("/../../a", "/a", "/a", "/a"),
        ("/a/b/..", "/a/", "/a/", "/a/"),
        ("/a/b/.", "/a/b/", "/a/b/", "/a/b/"),
        ("/..", "/", "/", "/"),
        ("/app/%2E./admin", "/admin", "/admin", "/admin"),
        ("/app/%2e%2E/admin", "/admin", "/admin", "/admin"),
        ("/app//../admin", "/app/admin", "/app/admin", "/app/admin"),
        ("/a//b", "/a//b", "/a/b", "/a/b"),
        ("//a///b//", "//a///b//", "/a/b/", "/a/b/"),
        ("/app/\\/\\/\\admin", "/app//////admin", "/app/admin", "/app/admin"),
        ("/a\\..\\b", "/b", "/b", "/b"),
        ("/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/%2Fapp%5cadmin%5Cabc", "/app/admin/abc"),
        ("/a%2f..%2fb", "/a%2f..%2fb", "/a%2f..%2fb", "/b"),
        ("/admin%41", "/adminA", "/adminA", "/adminA"),
        ("/%7Euser%2D%5f", "/~user-_", "/~user-_", "/~user-_"),
        ("/%252e%252e/admin", "/%252e%252e/admin", "/%252e%252e/admin", "/%252e%252e/admin"),
        ("/%c0%ae%c0%ae/a", "/%c0%ae%c0%ae/a", "/%c0%ae%c0%ae/a", "/%c0%ae%c0%ae/a"),
        ("/a;x/../b", "/b", "/b", "/b"),
        ("/a/..;/b", "/a/..;/b", "/a/..;/b", "/a/..;/b"),
        ("/a/.../b", "/a/.../b", "/a/.../b", "/a/.../b"),
        ("/ADMIN", "/ADMIN", "/ADMIN", "/ADMIN"),
        ("/a%3fb%23c", "/a%3fb%23c", "/a%3fb%23c", "/a%3fb%23c"),
        ("/100%", "/100%", "/100%", "/100%"),
        ("/%zz%+f", "/%zz%+f", "/%zz%+f", "/%zz%+f"),
        // An escape that would complete a stray % stays: decoding it would make a new escape.
        ("/%%32e/x", "/%%32e/x", "/%%32e/x", "/%%32e/x"),
        ("/%2%65/x", "/%2%65/x", "/%2%65/x", "/%2%65/x"),
        ("/%2%7e/x", "/%2~/x", "/%2~/x", "/%2~/x"),
        ("*", "*", "*", "*"),
    ] {
        for (mode, expected) in [(Base, base), (MergeSlashes, merged), (DecodeAndMergeSlashes, decoded)] {
            assert_eq!(normalize_path(mode, target).as_deref(), Some(expected), "{mode:?} {target}");
        }
    }
}

#[test]
fn none_only_drops_the_fragment() {
    for (target, expected) in
        [("/app/%2E./admin", "/app/%2E./admin"), ("/a//b\\#x", "/a//b\\"), ("/%00", "/%00")]
    {
        assert_eq!(normalize_path(Off, target).as_deref(), Some(expected));
    }
}

#[test]
fn what_is_answered_with_400() {
    for (mode, target) in [
        (DecodeAndMergeSlashes, "/a%00b"),
        (Base, "admin"),
        (Off, ""),
        (Off, "#x"),
        (Base, "?x"),
        (Base, "*x"),
    ] {
        assert_eq!(normalize_path(mode, target), None, "{mode:?} {target:?}");
    }
    assert_eq!(normalize_path(Base, "/a%00b").as_deref(), Some("/a%00b"));
    assert!(normalize_path(DecodeAndMergeSlashes, "/a?x=%00").is_some(), "only the path counts");
}

#[test]
fn an_ordinary_path_is_not_copied() {
    assert!(matches!(normalize_path(MergeSlashes, "/orders/1?x=%20"), Some(Cow::Borrowed(_))));
}

#[test]
fn the_path_ends_where_the_query_begins() {
    assert_eq!(path_of("/a?b?c"), "/a");
    assert_eq!(path_of("/a"), "/a");
}

fn modes() -> impl Strategy<Value = PathNormalization> {
    prop_oneof![Just(Off), Just(Base), Just(MergeSlashes), Just(DecodeAndMergeSlashes)]
}

/// Text made of what the normaliser cares about, so that chance finds the corners.
fn targets_near_trouble() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("/"),
        Just("."),
        Just(".."),
        Just("\\"),
        Just("%"),
        Just("%2e"),
        Just("%2F"),
        Just("%5c"),
        Just("%25"),
        Just("%32"),
        Just("%65"),
        Just("%41"),
        Just("%00"),
        Just("2"),
        Just("e"),
        Just("f"),
        Just("a"),
        Just("g"),
        Just("é"),
        Just("?"),
        Just("#"),
        Just(";"),
    ];
    prop::collection::vec(part, 0..16).prop_map(|parts| format!("/{}", parts.concat()))
}

proptest! {
    #[test]
    fn any_text_is_answered_without_panic(mode in modes(), target in ".*") {
        normalize_path(mode, &target);
    }

    #[test]
    fn what_is_normal_stays(mode in modes(), target in targets_near_trouble()) {
        if let Some(once) = normalize_path(mode, &target) {
            prop_assert_eq!(normalize_path(mode, &once), Some(once.clone()));
        }
    }

    #[test]
    fn no_dot_segment_is_left(target in targets_near_trouble()) {
        if let Some(normal) = normalize_path(DecodeAndMergeSlashes, &target) {
            let path = path_of(&normal);
            prop_assert!(path.starts_with('/'));
            prop_assert!(!path.contains("//") && !path.contains('\\'));
            prop_assert!(path.split('/').all(|segment| segment != "." && segment != ".."), "{}", path);
        }
    }
}
