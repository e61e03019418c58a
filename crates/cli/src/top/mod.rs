//! `shmpipe top`: all rings on a live screen.
//!
//! Looks at rings through read-only attachments. The only change that it makes is to remove
//! a ring, after a question.

mod screen;
mod state;
mod stop;

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::thread;
use std::time::{Duration, Instant};

use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use rustix::process::{Signal, kill_current_process_group};
use signal_hook::consts::SIGHUP;

use crate::args::TopArgs;
use crate::exit::Failure;
use crate::signals::Signals;
use crate::stream::until_gone;
use crate::text;
use state::{Mode, State};
use stop::Stops;

/// The longest wait for a key before signals are looked at.
const LOOK: Duration = Duration::from_millis(100);
/// The time over which the rates of the first screen are taken.
const FIRST: Duration = Duration::from_millis(300);

pub(crate) fn run(args: &TopArgs) -> Result<(), Failure> {
    let signals = Signals::catch_more()?;
    let done = match args.batch {
        true => batch(args, &signals),
        false => live(args, &signals),
    };
    match done {
        // An interrupted screen prints no message.
        Err(failure) if failure.is_interrupted() => signals.end(Ok(())).map_err(Failure::mute),
        done => signals.end(done),
    }
}

/// Prints screens as text.
fn batch(args: &TopArgs, signals: &Signals) -> Result<(), Failure> {
    let mut state = State::new(args);
    state.look()?;
    let mut shown = 0;
    while args.iterations.is_none_or(|most| shown < most) {
        pause(args.delay, signals)?;
        state.look()?;
        let blank = if shown > 0 { "\n" } else { "" };
        text::print(format!("{blank}{}", screen::text(&state)))?;
        shown += 1;
    }
    Ok(())
}

fn pause(time: Duration, signals: &Signals) -> Result<(), Failure> {
    let start = Instant::now();
    while start.elapsed() < time {
        signals.check()?;
        thread::sleep(LOOK.min(time.saturating_sub(start.elapsed())));
    }
    Ok(())
}

/// The terminal as a screen. A drop, and a panic, give it back as it was.
struct Screen(DefaultTerminal);

impl Screen {
    fn new() -> Result<Screen, Failure> {
        let terminal = ratatui::try_init().map_err(|error| Failure::io("the terminal", &error))?;
        Ok(Screen(terminal))
    }

    /// Gives the terminal to the shell, stops, and takes the terminal once this process is
    /// continued.
    fn suspend(&mut self, by_key: bool, stops: &Stops) -> Result<(), Failure> {
        let _ = self.0.show_cursor(); // fails if the terminal has gone, as the next call does
        let _ = ratatui::try_restore(); // the shell sets it, too
        if by_key {
            // As the terminal does it: a script that has started this process stops, too.
            let _ = kill_current_process_group(Signal::TSTP);
        }
        stops.stop();
        stops.has_continued(); // this is known
        self.take()
    }

    /// Takes the terminal, which the shell may have changed while this process was stopped.
    fn take_again(&mut self) -> Result<(), Failure> {
        let _ = ratatui::try_restore(); // otherwise its modes count as set
        self.take()
    }

    fn take(&mut self) -> Result<(), Failure> {
        // A new `Screen` would not do: the drop of the old one would end the new one.
        self.0 = ratatui::try_init().map_err(|error| Failure::io("the terminal", &error))?;
        Ok(())
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = ratatui::try_restore(); // fails if the terminal has gone
    }
}

fn live(args: &TopArgs, signals: &Signals) -> Result<(), Failure> {
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        return Err(Failure::other(
            "stdin and stdout must be a terminal (--batch prints text)",
        ));
    }
    if text::is_dumb() {
        return Err(Failure::other(
            "the terminal, by TERM, has no screen (--batch prints text)",
        ));
    }
    let mut state = State::new(args);
    state.look()?;
    let stops = Stops::hold()?;
    end_with_terminal().map_err(|error| Failure::io("the terminal", &error))?;
    let mut screen = Screen::new()?;
    let mut shown = 0;
    let mut next = Instant::now() + FIRST.min(args.delay);
    loop {
        let drawn = screen.0.draw(|frame| screen::draw(frame, &mut state));
        drawn.map_err(|error| Failure::io("the terminal", &error))?;
        if await_event(&mut state, &mut screen, next, (signals, &stops))? {
            return Ok(());
        }
        if Instant::now() >= next {
            if state.looks() > 1 {
                shown += 1;
            }
            if args.iterations.is_some_and(|most| shown >= most) {
                return Ok(());
            }
            state.look()?;
            next = Instant::now() + args.delay;
        }
    }
}

/// Has a thread end this process once the terminal has gone. The main thread may see no signal
/// then: crossterm reads a terminal that has gone again and again.
fn end_with_terminal() -> io::Result<()> {
    let terminal = io::stdin().as_fd().try_clone_to_owned()?;
    let watch = move || {
        until_gone(&terminal);
        thread::sleep(LOOK); // the main thread may end by itself
        // Returns only for an unknown signal, which this is not.
        let _ = signal_hook::low_level::emulate_default_handler(SIGHUP);
    };
    let thread = thread::Builder::new().name("terminal".to_owned());
    thread.spawn(watch).map(drop)
}

/// Waits for a key, another size, or `next`. Returns whether to end.
fn await_event(
    state: &mut State,
    screen: &mut Screen,
    next: Instant,
    (signals, stops): (&Signals, &Stops),
) -> Result<bool, Failure> {
    let failed = |error: io::Error| Failure::io("the terminal", &error);
    loop {
        signals.check()?;
        if stops.is_asked() {
            return screen.suspend(false, stops).map(|()| false);
        }
        if stops.has_continued() {
            return screen.take_again().map(|()| false);
        }
        let left = next.saturating_duration_since(Instant::now());
        match event::poll(left.min(LOOK)) {
            Ok(false) if left.is_zero() => return Ok(false),
            Ok(false) => continue,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(failed(error)),
            Ok(true) => {}
        }
        return match event::read().map_err(failed)? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if key.code == KeyCode::Char('z') && key.modifiers.contains(KeyModifiers::CONTROL) {
                    return screen.suspend(true, stops).map(|()| false);
                }
                on_key(state, key)
            }
            _ => Ok(false), // another size, for example
        };
    }
}

/// Returns whether to end.
fn on_key(state: &mut State, key: KeyEvent) -> Result<bool, Failure> {
    if key.modifiers.contains(KeyModifiers::CONTROL) {
        return Ok(key.code == KeyCode::Char('c'));
    }
    match &mut state.mode {
        Mode::Filter => match key.code {
            KeyCode::Char(c) => state.filter.push(c),
            KeyCode::Backspace => _ = state.filter.pop(),
            KeyCode::Esc => {
                state.filter.clear();
                state.mode = Mode::List;
            }
            KeyCode::Enter => state.mode = Mode::List,
            _ => {}
        },
        Mode::Confirm(id) => {
            let id = *id;
            state.mode = Mode::List;
            if matches!(key.code, KeyCode::Char('y' | 'Y')) {
                state.remove(id);
            }
        }
        Mode::Help => state.mode = Mode::List,
        Mode::List => match key.code {
            KeyCode::Char('q') | KeyCode::Esc => return Ok(true),
            KeyCode::Char('?' | 'h') => state.mode = Mode::Help,
            KeyCode::Char('/') => state.mode = Mode::Filter,
            KeyCode::Char('s') => state.sort_by_next(),
            KeyCode::Char('j') | KeyCode::Down => state.choose(1),
            KeyCode::Char('k') | KeyCode::Up => state.choose(-1),
            KeyCode::Char('d') | KeyCode::Delete => state.ask(),
            KeyCode::Char(' ') => state.look()?,
            _ => {}
        },
    }
    state.arrange();
    Ok(false)
}
