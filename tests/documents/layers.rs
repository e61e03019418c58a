//! Checks that the folders of `src` are layers. A file imports only from its own layer and
//! from lower ones. No files import one another in a circle, except a module and its
//! parent.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The layers, lowest first: what stands in one line stands beside each other.
const LAYERS: [&[&str]; 13] = [
    &["escape", "role", "tuning"],
    &["sync"],
    &["sys"],
    &["error"],
    &["segment"],
    &["ring"],
    &["wait"],
    &["peer"],
    &["open"],
    &["handle"],
    &["options", "reactor"],
    &[
        "asynchronous",
        "placed",
        "remove",
        "set",
        "snapshot",
        "spawn",
    ],
    &["records"],
];

/// In no layer: the crate's face, its documents, and the models, which look at all.
const APART: [&str; 3] = ["lib", "guide", "models"];

/// A module by its path: `["ring", "reader"]`.
type Module = Vec<String>;

/// Each module of the library, with its code: no comments, no tests.
fn modules() -> BTreeMap<Module, String> {
    fn visit(folder: &Path, path: &Module, modules: &mut BTreeMap<Module, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().path();
            let name = file.file_stem().unwrap().to_str().unwrap().to_owned();
            if APART.contains(&name.as_str()) && path.is_empty() {
                continue;
            }
            let module = [path.as_slice(), std::slice::from_ref(&name)].concat();
            if file.is_dir() {
                visit(&file, &module, modules);
            } else if file.extension().is_some_and(|end| end == "rs")
                && !["tests", "order"].contains(&name.as_str())
            {
                let code = fs::read_to_string(&file).unwrap();
                let module = if name == "mod" { path.clone() } else { module };
                modules.insert(module, without_tests_and_comments(&code));
            }
        }
    }
    let mut modules = BTreeMap::new();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    visit(&source, &Vec::new(), &mut modules);
    modules.retain(|module, _| !module.iter().any(|part| part == "tests"));
    modules
}

fn without_tests_and_comments(code: &str) -> String {
    let mut kept = String::new();
    let mut lines = code.lines().peekable();
    while let Some(line) = lines.next() {
        let is_test = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test");
        if is_test && lines.peek().is_some_and(|next| next.starts_with("mod ")) {
            break; // the tests come last
        }
        kept.push_str(line.split("//").next().unwrap());
        kept.push('\n');
    }
    kept
}

/// The modules of the crate that `code` of `module` names.
fn named(module: &Module, code: &str, modules: &BTreeMap<Module, String>) -> BTreeSet<Module> {
    let mut found = BTreeSet::new();
    for (start, base) in [
        ("crate::", 0),
        ("super::", module.len() - 1),
        ("self::", module.len()),
    ] {
        for (at, _) in code.match_indices(start) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let rest = &code[at + start.len()..];
            for path in paths(rest) {
                let mut target = module[..base].to_vec();
                target.extend(path);
                while !target.is_empty() && !modules.contains_key(&target) {
                    target.pop();
                }
                if !target.is_empty() && target != *module {
                    found.insert(target);
                }
            }
        }
    }
    found
}

/// The paths at the start of `text`: one, or all of a group in braces.
fn paths(text: &str) -> Vec<Module> {
    let end = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
        .unwrap_or(text.len());
    let parts = |path: &str| -> Module {
        let parts = path.split("::").filter(|part| !part.is_empty());
        parts.map(str::to_owned).collect()
    };
    let first = parts(&text[..end]);
    let Some(group) = text[end..].strip_prefix('{') else {
        return vec![first];
    };
    let group = group.split('}').next().unwrap();
    let members = group
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    members
        .map(|member| [first.clone(), parts(member)].concat())
        .collect()
}

fn imports() -> BTreeMap<Module, BTreeSet<Module>> {
    let modules = modules();
    let imports = modules.iter().map(|(module, code)| {
        let named = named(module, code, &modules);
        (module.clone(), named)
    });
    imports.collect()
}

fn layer(module: &Module) -> usize {
    let layer = LAYERS
        .iter()
        .position(|layer| layer.contains(&module[0].as_str()));
    layer.unwrap_or_else(|| panic!("{} stands in no layer", module.join("/")))
}

#[test]
fn imports_point_to_lower_layers() {
    let imports = imports();
    let count: usize = imports.values().map(BTreeSet::len).sum();
    assert!(count > 150, "{count} are too few to be all");
    for (module, targets) in &imports {
        for target in targets {
            assert!(
                module[0] == target[0] || layer(target) < layer(module),
                "{} imports {}, which is no lower layer",
                module.join("/"),
                target.join("/")
            );
        }
    }
}

#[test]
fn no_modules_import_one_another() {
    let mut imports = imports();
    for (module, targets) in &mut imports {
        targets.retain(|target| !target.starts_with(module) && !module.starts_with(target));
    }
    // What imports nothing that is left is in no circle.
    loop {
        let before = imports.len();
        let left: BTreeSet<Module> = imports.keys().cloned().collect();
        imports.retain(|_, targets| targets.iter().any(|target| left.contains(target)));
        if imports.len() == before {
            break;
        }
    }
    let circle: Vec<String> = imports.keys().map(|module| module.join("/")).collect();
    assert!(
        circle.is_empty(),
        "these import one another, or such: {circle:?}"
    );
}
