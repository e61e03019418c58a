//! The time of a run, shared out among its cells.

use std::time::{Duration, Instant};

use crate::cells::Cell;

/// What is left of it.
pub(crate) struct Budget {
    start: Instant,
    /// The time of all cells. `None`: as long as they take.
    whole: Option<Duration>,
    /// The turns of the cells that are still to come.
    turns: usize,
}

/// The time of a cell.
pub(crate) struct Share {
    start: Instant,
    time: Option<Duration>,
}

impl Budget {
    pub(crate) fn new(minutes: Option<f64>, cells: &[Cell]) -> Budget {
        Budget {
            start: Instant::now(),
            whole: minutes.map(|minutes| Duration::from_secs_f64(60.0 * minutes)),
            turns: cells.iter().map(turns_of).sum(),
        }
    }

    pub(crate) fn spent(&self) -> Duration {
        self.start.elapsed()
    }

    /// The next cell's part of the time that is left, by its turns. What it does not use is
    /// left to the others.
    pub(crate) fn share(&mut self, cell: &Cell) -> Share {
        let left = self
            .whole
            .map(|whole| whole.saturating_sub(self.start.elapsed()));
        let turns = turns_of(cell);
        let part = turns as f64 / self.turns.max(1) as f64;
        self.turns -= turns;
        Share {
            start: Instant::now(),
            time: left.map(|left| left.mul_f64(part)),
        }
    }
}

impl Share {
    /// Whether one round more would take too long, after `rounds` of them.
    pub(crate) fn is_used_up(&self, rounds: usize) -> bool {
        let spent = self.start.elapsed();
        let next = spent + spent / rounds.max(1) as u32;
        rounds >= FEWEST && self.time.is_some_and(|time| next > time)
    }
}

/// The rounds of a cell that runs out of time.
const FEWEST: usize = 3;

fn turns_of(cell: &Cell) -> usize {
    cell.entrants.len() * cell.rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cells::{self, Extent};

    fn cells() -> Vec<Cell> {
        let extent = Extent {
            most_gib: 1,
            cpus: 2,
            busy_bytes: 1 << 20,
        };
        let mut cells = cells::of("wake", extent);
        cells.extend(cells::of("set-up", extent));
        for cell in &mut cells {
            cell.rounds = 5;
        }
        cells
    }

    #[test]
    fn the_shares_of_all_cells_are_the_whole_time() {
        let cells = cells();
        let mut budget = Budget::new(Some(1.0), &cells);
        let first = budget.share(&cells[0]).time.unwrap();
        let rest = Duration::from_secs(60) - first;
        let turns = turns_of(&cells[0]) as f64;
        let all: usize = cells.iter().map(turns_of).sum();
        assert!((first.as_secs_f64() - 60.0 * turns / all as f64).abs() < 1.0);
        // Nothing was used, so the last cell gets all of it.
        let last = cells[1..]
            .iter()
            .map(|cell| budget.share(cell))
            .last()
            .unwrap();
        assert!(last.time.unwrap() > rest);
        assert_eq!(budget.turns, 0);
    }

    #[test]
    fn a_cell_without_time_has_its_fewest_rounds() {
        let cells = cells();
        let share = Budget::new(Some(0.0), &cells).share(&cells[0]);
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!([2, 3].map(|rounds| share.is_used_up(rounds)), [false, true]);
        let share = Budget::new(None, &cells).share(&cells[0]);
        assert!(!share.is_used_up(1000));
    }
}
