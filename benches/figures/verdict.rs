//! The verdict, by the medians of one run: whether shmpipe is ahead of the best rival, and
//! which part of what the machine allows it reaches.

use std::fmt::Write;

use super::summary::{Asked, Cell};
use super::table::{number, percent, threads};

/// One line for each cell that has a rival or a limit, and how many are ahead.
pub(crate) fn table(questions: &[Asked]) -> String {
    let mut text = String::from(
        "| cell | shmpipe | best rival | ahead | limit | of the limit |\n|---|--:|--:|---|--:|--:|\n",
    );
    let (mut ahead, mut rivals, mut parts) = (0, 0, Vec::new());
    for asked in questions {
        for case in &asked.cases {
            let (rival, limit) = (asked.best_rival(case), asked.limit(case));
            if rival.is_none() && limit.is_none() {
                continue;
            }
            for ours in asked.judged(case) {
                let better = rival.map(|rival| asked.ratio(ours, rival));
                rivals += usize::from(better.is_some());
                ahead += usize::from(better.is_some_and(|ratio| ratio >= 1.0));
                let part = limit.map(|limit| asked.ratio(ours, limit));
                parts.extend(part);
                text += &line(asked, case, ours, (rival, better), (limit, part));
            }
        }
    }
    let _ = writeln!(
        text,
        "\nAhead of the best rival in {ahead} of {rivals} cells."
    );
    parts.sort_by(f64::total_cmp);
    if let (Some(least), Some(middle)) = (parts.first(), parts.get(parts.len() / 2)) {
        let _ = writeln!(
            text,
            "Part of the limit: {} in the median cell, {} in the worst one.",
            percent(*middle),
            percent(*least),
        );
    }
    text + &questions.iter().filter_map(beside_park).collect::<String>()
}

/// What the default policy takes on a busy machine beside `Park` and beside a pipe.
fn beside_park(asked: &Asked) -> Option<String> {
    let (mut wall, mut cpu, mut pipe) = (Vec::new(), Vec::new(), Vec::new());
    for case in &asked.cases {
        for ours in asked.question.ours {
            let ring = ours.strip_prefix("shmpipe, ").unwrap_or_default();
            let of = |who: &str| asked.cell(case, who).map(|cell| &cell.figures);
            if let (Some(default), Some(park)) = (of(ours), of(&format!("shmpipe, Park, {ring}"))) {
                wall.push(default.median / park.median);
                cpu.push(default.cpu / park.cpu);
                pipe.extend(of("pipe").map(|pipe| default.median / pipe.median));
            }
        }
    }
    let most = |ratios: &[f64]| ratios.iter().copied().max_by(f64::total_cmp);
    let each = |ratios: &[f64]| {
        let logarithms: f64 = ratios.iter().map(|ratio| ratio.ln()).sum();
        let mean = (logarithms / ratios.len() as f64).exp();
        Some(format!(
            "{} x, at most {} x",
            number(mean),
            number(most(ratios)?)
        ))
    };
    let beside_pipe = most(&pipe).map_or(String::new(), |most| {
        format!(" Its time is at most {} x that of a pipe.", number(most))
    });
    Some(format!(
        "On a busy machine, the default policy takes this multiple of what `Park` takes, by the \
         geometric mean of {} cells: time {}; processor time {}.{beside_pipe}\n",
        wall.len(),
        each(&wall)?,
        each(&cpu)?,
    ))
}

fn line(
    asked: &Asked,
    case: &str,
    ours: &Cell,
    (rival, better): (Option<&Cell>, Option<f64>),
    (limit, part): (Option<&Cell>, Option<f64>),
) -> String {
    let named = |cell: Option<&Cell>| {
        cell.map_or(String::new(), |cell| {
            let value = number(cell.figures.median);
            format!("{value}, {}{}", cell.who, threads(cell.kind))
        })
    };
    let verdict = better.map_or(String::new(), |ratio| {
        let word = if ratio >= 1.0 { "yes" } else { "**no**" };
        format!("{word}: {} x", number(ratio))
    });
    // Which of ours, where there are several.
    let who = match ours.who.strip_prefix("shmpipe, ") {
        Some(which) => format!(" ({which})"),
        None => String::new(),
    };
    format!(
        "| {}, {case}{who} | {} | {} | {verdict} | {} | {} |\n",
        asked.question.name,
        format!("{} {}", number(ours.figures.median), ours.unit).trim_end(),
        named(rival),
        named(limit),
        part.map_or(String::new(), percent),
    )
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::super::data::{Data, Series};
    use super::super::summary;

    fn one(question: &str, who: &str, kind: Kind, value: &[f64], unit: &str) -> Series {
        let mut one = Series::new(question, "4 KiB", who, kind, unit);
        one.value = value.to_vec();
        one
    }

    fn verdict(series: Vec<Series>) -> String {
        super::table(&summary::of(&Data {
            machines: Vec::new(),
            series,
        }))
    }

    #[test]
    fn it_says_who_is_ahead_and_how_far_the_limit_is() {
        let series = |ours: f64| {
            let one = |who, kind, value: &[f64]| one("throughput", who, kind, value, "GB/s");
            vec![
                one("shmpipe", Kind::Ours, &[0.9 * ours, ours, 5.0 * ours]),
                one("slow", Kind::Crate, &[3.0]),
                one("fast", Kind::Threads, &[10.0]),
                one("memcpy", Kind::Limit, &[99.0]),
                one("the writer's half", Kind::Limit, &[25.0]),
                one("the reader's half, checked", Kind::Limit, &[40.0]),
            ]
        };
        let text = verdict(series(20.0));
        let line = "| throughput, 4 KiB | 20.0 GB/s | 10.0, fast (threads) | yes: 2.00 x | 25.0, the \
                    writer's half | 80 % |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("in 1 of 1 cells"), "{text}");
        let text = verdict(series(9.0));
        assert!(text.contains("| **no**: 0.900 x |"), "{text}");
        assert!(text.contains("in 0 of 1 cells"), "{text}");
        assert!(text.contains("36 % in the worst one"), "{text}");
    }

    #[test]
    fn less_is_better_in_a_delay() {
        let one = |who, kind, value| one("round trip", who, kind, &[value], "ns");
        let text = verdict(vec![
            one("shmpipe", Kind::Ours, 100.0),
            one("pipe", Kind::Kernel, 9000.0),
            one("other", Kind::Crate, 80.0),
            one("a bare place each way", Kind::Limit, 50.0),
        ]);
        let line =
            "| 100 ns | 80.0, other | **no**: 0.800 x | 50.0, a bare place each way | 50 % |";
        assert!(text.contains(line), "{text}");
    }

    #[test]
    fn half_of_a_limit_is_none() {
        let text = verdict(vec![
            one("in place", "shmpipe", Kind::Ours, &[9.0], "GB/s"),
            one("in place", "rtrb", Kind::Threads, &[3.0], "GB/s"),
            one(
                "in place",
                "the writer's half, in place",
                Kind::Limit,
                &[10.0],
                "GB/s",
            ),
        ]);
        assert!(text.contains("| yes: 3.00 x |  |  |"), "{text}");
        assert!(!text.contains("Part of the limit"), "{text}");
    }

    #[test]
    fn on_a_busy_machine_the_slowest_ring_is_judged() {
        let one = |who, kind, value| one("busy machine", who, kind, &[value], "ms");
        let text = verdict(vec![
            one("shmpipe, 64 KiB ring", Kind::Ours, 40.0),
            one("shmpipe, 4 MiB ring", Kind::Ours, 20.0),
            one("shmpipe, Park, 64 KiB ring", Kind::Ours, 90.0),
            one("pipe", Kind::Kernel, 50.0),
        ]);
        let line = "| busy machine, 4 KiB (64 KiB ring) | 40.0 ms | 50.0, pipe | yes: 1.25 x |";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("in 1 of 1 cells"), "{text}");
    }

    #[test]
    fn on_a_busy_machine_the_default_stands_beside_park() {
        let one = |who, value, cpu| {
            let mut one = one("busy machine", who, Kind::Ours, &[value], "ms");
            one.cpu = vec![cpu];
            one
        };
        let text = verdict(vec![
            one("shmpipe, 64 KiB ring", 20.0, 0.02),
            one("shmpipe, Park, 64 KiB ring", 40.0, 0.04),
            one("shmpipe, 4 MiB ring", 20.0, 0.03),
            one("shmpipe, Park, 4 MiB ring", 10.0, 0.02),
            one("pipe", 50.0, 0.04),
        ]);
        let line = "the geometric mean of 2 cells: time 1.00 x, at most 2.00 x; processor time \
                    0.866 x, at most 1.50 x. Its time is at most 0.400 x that of a pipe.\n";
        assert!(text.ends_with(line), "{text}");
    }

    #[test]
    fn nothing_is_judged_that_was_not_measured() {
        let text = verdict(vec![one(
            "busy machine",
            "pipe",
            Kind::Kernel,
            &[50.0],
            "ms",
        )]);
        assert!(text.contains("in 0 of 0 cells"), "{text}");
        // Neither is a question without a rival and a limit.
        let text = verdict(vec![one("growth", "shmpipe", Kind::Ours, &[50.0], "GB/s")]);
        assert!(text.contains("in 0 of 0 cells"), "{text}");
    }
}
