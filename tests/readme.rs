//! The README names tests as evidence; they exist.

use std::path::Path;

#[test]
fn every_test_that_the_readme_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = std::fs::read_to_string(root.join("README.md")).unwrap();
    let mut named = 0;
    for quoted in readme.split('`').filter(|text| text.starts_with("tests/")) {
        let Some((file, test)) = quoted.split_once(": ") else {
            assert!(root.join(quoted).exists(), "{quoted}");
            continue;
        };
        let source = std::fs::read_to_string(root.join(file)).expect(file);
        assert!(source.contains(&format!("fn {test}()")), "{quoted}");
        named += 1;
    }
    assert!(named > 20, "the table of deaths names its tests");
}
