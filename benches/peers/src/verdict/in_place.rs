//! The bars of the work in place.

use super::{Bar, Line, OURS, best, compare, slower};
use crate::report::number;
use crate::summary::Question;

/// A rival below this part of the limit must be beaten by a factor.
const FAR_BELOW: f64 = 0.8;

pub(super) fn judge(question: &Question, lines: &mut Vec<Line>) {
    for case in &question.cases {
        let Some(ours) = question.cell(case, OURS) else {
            continue;
        };
        let (of_limit, of_copying) = match case.as_str() {
            "64 B" => (0.7, 1.5),
            "1 KiB" => (0.85, 1.0),
            _ => (0.9, 1.0),
        };
        let halves = ["the writer's half, in place", "the reader's half, in place"];
        let limit = slower(question, case, halves);
        if let Some(limit) = limit {
            let what = format!("in place, {case}, of the limit");
            compare(what, Bar::AtLeast(of_limit), ours, limit, lines);
        }
        if let Some(copying) = question.cell(case, "shmpipe, copying") {
            let what = format!("in place, {case}, of copying");
            compare(what, Bar::AtLeast(of_copying), ours, copying, lines);
        }
        if let (Some(limit), Some(rival)) = (limit, best(question, case, true))
            && case == "64 B"
            && rival.median < FAR_BELOW * limit.median
        {
            let what = format!("in place, {case}, of the best rival's");
            compare(what, Bar::AtLeast(3.0), ours, rival, lines);
        }
    }
}

/// A grant must cost no more than a copy.
pub(super) fn instructions(question: &Question, lines: &mut Vec<Line>) {
    let grant = question.cell("64 B in place", OURS);
    if let (Some(grant), Some(copy)) = (grant, question.cell("64 B", OURS)) {
        lines.push(Line {
            what: "instructions, 64 B in place, of a copy's".into(),
            bar: Bar::AtMost(1.0),
            ratio: grant.median / copy.median,
            of: format!("{} : {}", number(grant.median), number(copy.median)),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{row, verdict};
    use crate::contenders::Kind;
    use crate::results::Row;

    fn cell(case: &str, figures: &[(&str, Kind, f64)]) -> Vec<Row> {
        let row = |&(who, kind, value)| row("in place", case, who, kind, value);
        figures.iter().map(row).collect()
    }

    #[test]
    fn the_limit_is_the_slower_half_and_no_rival() {
        let text = verdict(cell(
            "4 KiB",
            &[
                ("shmpipe", Kind::Ours, 9.0),
                ("shmpipe, many in a grant", Kind::Ours, 11.0),
                ("shmpipe, copying", Kind::Ours, 9.1),
                ("rtrb", Kind::Threads, 1.0),
                ("the writer's half, in place", Kind::Limit, 12.0),
                ("the reader's half, in place", Kind::Limit, 10.0),
            ],
        ));
        let limit = "| in place, 4 KiB, of the limit | >= 0.9 | 0.900 | 9.00 : 10.0 GB/s of the \
                     reader's half, in place | yes |";
        assert!(text.contains(limit), "{text}");
        let copying = "| in place, 4 KiB, of copying | >= 1 | 0.989 |";
        assert!(text.contains(copying), "{text}");
        assert!(text.contains("1 of 2 hold"), "{text}");
    }

    #[test]
    fn a_rival_near_the_limit_need_not_be_beaten_threefold() {
        let cell = |rival| {
            cell(
                "64 B",
                &[
                    ("shmpipe", Kind::Ours, 7.0),
                    ("cueue", Kind::Crate, 0.5),
                    ("rtrb", Kind::Threads, rival),
                    ("the writer's half, in place", Kind::Limit, 10.0),
                    ("the reader's half, in place", Kind::Limit, 12.0),
                ],
            )
        };
        let text = verdict(cell(3.5));
        let bar = "| in place, 64 B, of the best rival's | >= 3 | 2.00 | 7.00 : 3.50 GB/s of rtrb \
                   | **no** |";
        assert!(text.contains(bar), "{text}");
        assert!(text.contains("of the limit | >= 0.7 | 0.700 |"), "{text}");
        let text = verdict(cell(8.0));
        assert!(!text.contains("rival"), "{text}");
    }

    #[test]
    fn one_half_alone_is_no_limit() {
        let text = verdict(cell(
            "1 KiB",
            &[
                ("shmpipe", Kind::Ours, 7.0),
                ("the writer's half, in place", Kind::Limit, 10.0),
            ],
        ));
        assert!(text.contains("0 of 0 hold"), "{text}");
    }

    #[test]
    fn a_grant_is_held_against_a_copy_of_the_same_size() {
        let rows = [("8 B", 86.0), ("64 B", 120.0), ("64 B in place", 121.0)]
            .map(|(case, count)| row("instructions", case, "shmpipe", Kind::Ours, count));
        let text = verdict(rows.into());
        assert!(
            text.contains("| <= 1 | 1.01 | 121 : 120 | **no** |"),
            "{text}"
        );
    }
}
