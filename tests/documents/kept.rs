//! The figures of the page are made from the data that is kept, without a measurement.

use std::fs;
use std::path::Path;

use crate::figures::data::Data;
use crate::figures::page;

/// A package from a registry has neither data nor charts.
fn checkout(test: &str) -> Option<&'static Path> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let is = root.join("benches/peers/data").exists();
    if !is {
        println!("{test}: not run: this is a package, without benches/peers and benches/charts");
    }
    is.then_some(root)
}

fn data(root: &Path) -> Vec<(String, Data)> {
    Data::all(&root.join("benches/peers/data")).unwrap()
}

#[test]
fn page_and_charts_are_those_of_the_data() {
    let Some(root) = checkout("page_and_charts_are_those_of_the_data") else {
        return;
    };
    let text = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    let page = text("src/guide/performance.md");
    let made = page::make(&page, &data(root)).expect("the page has its marks");
    let differs = page.lines().zip(made.page.lines()).find(|(a, b)| a != b);
    let command = "cargo run --manifest-path benches/peers/Cargo.toml -- page";
    assert!(made.page == page, "{differs:?}: {command}");
    assert!(made.references == text("src/guide/charts.txt"), "{command}");

    let folder = fs::read_dir(root.join("benches/charts")).unwrap();
    let drawn = folder.filter(|entry| {
        let path = entry.as_ref().unwrap().path();
        path.extension().is_some_and(|end| end == "svg")
    });
    assert_eq!(drawn.count(), made.charts.len(), "{command}");
    for chart in &made.charts {
        let svg = text(&format!("benches/charts/{}", chart.file()));
        assert!(svg == chart.svg, "{}: {command}", chart.file());
    }
}

#[test]
fn the_data_of_a_run_of_each_maker_is_kept() {
    let Some(root) = checkout("the_data_of_a_run_of_each_maker_is_kept") else {
        return;
    };
    let all = data(root);
    for maker in ["amd-", "intel-"] {
        assert!(
            all.iter().any(|(stem, _)| stem.starts_with(maker)),
            "{maker}"
        );
    }
    for (stem, data) in all {
        let first = data.machines.first().expect(&stem);
        assert_eq!(first.stem(), stem);
        for machine in &data.machines {
            let known = [
                &machine.date,
                &machine.kernel,
                &machine.rustc,
                &machine.place,
            ];
            assert!(known.iter().all(|text| !text.is_empty()), "{machine:?}");
            assert_eq!(machine.cpu, first.cpu, "{stem}");
        }
        assert!(!data.series.is_empty(), "{stem}");
        for one in data.series {
            // Either each sample, or figures whose source is named.
            let is_known = one.known.is_some() && first.source.is_some();
            let has_samples = !one.value.is_empty() && one.known.is_none();
            let is_missing = one.failure.is_some() || one.dropped > 0;
            assert!(is_known || has_samples || is_missing, "{stem}: {one:?}");
        }
    }
}
