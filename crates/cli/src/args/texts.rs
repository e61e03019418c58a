//! The texts at the end of `--help`: examples, and the exit codes.

use crate::exit::TABLE;

/// Examples, and then the table of exit codes. The backslash at the start of a text below removes
/// the first indent, so this function adds that again.
pub(super) fn long(examples: &str) -> String {
    format!("Examples:\n  {examples}\n\n{TABLE}")
}

pub(super) const ALL: &str = "\
  shmpipe recv /tmp/ring > copy &       # either side may come first
  shmpipe send /tmp/ring < original
  tar c dir | shmpipe send /tmp/ring    # progress is shown on a terminal
  shmpipe run -- tar c dir -- zstd      # two commands joined by a ring
  shmpipe ls                            # the rings of this host
  shmpipe doctor                        # what would hinder rings here";

pub(super) const SEND: &str = "\
  shmpipe send /tmp/ring < file
  tar c dir | shmpipe send -c 16M -t 1m /tmp/ring
  shmpipe send --persist --resume /run/log < log    # goes on after a crash
  shmpipe send -m 660 -o alice /srv/ring/name       # for two users of a group
  ssh host shmpipe recv --framed /tmp/ring | shmpipe send --framed /tmp/ring";

pub(super) const RECV: &str = "\
  shmpipe recv /tmp/ring > file
  shmpipe recv /tmp/ring | tar x
  shmpipe recv --follow /tmp/ring >> log       # one sender after the other
  shmpipe recv -n /tmp/ring 2>> numbers > file
  shmpipe recv --framed /tmp/ring | ssh host shmpipe send --framed /tmp/ring";

pub(super) const RUN: &str = "\
  shmpipe run -- tar c dir -- zstd -o dir.tar.zst
  shmpipe run -c 64M -- pg_dump db -- psql copy
  shmpipe run -- sh -c 'a | b' -- sh -c 'c > d'

The exit status is that of the reader, if it failed, else that of the writer: \
127 if a command is not found, 126 if it cannot be run, and 128 plus the number \
of the signal that a command died of.";

pub(super) const LS: &str = "\
  shmpipe ls
  shmpipe ls -w --sort fill
  shmpipe ls --watch=500ms
  shmpipe ls --json | jq '.rings[] | select(.state == \"sender died\") | .id'";

pub(super) const STAT: &str = "\
  shmpipe stat /tmp/ring
  shmpipe stat --pid 4711 --watch
  shmpipe stat --id 32768 --json | jq .rings[0].rate";

pub(super) const TOP: &str = "\
  shmpipe top
  shmpipe top -f tar -s fill
  shmpipe top -b -n 1                   # one screen as text, for a log";

pub(super) const RM: &str = "\
  shmpipe rm /tmp/ring
  shmpipe rm --stale --dry-run
  shmpipe rm --stale --older-than 1h
  shmpipe rm --owner alice --stale      # for root
  shmpipe rm --id 32768 --force";

pub(super) const DOCTOR: &str = "\
  shmpipe doctor
  shmpipe doctor --strict --json | jq '.findings[] | select(.level != \"ok\")'

Exits with 1 if a finding hinders rings; with --strict, for a warning, too.";

pub(super) const BENCH: &str = "\
  shmpipe bench
  shmpipe bench --bytes 128M --rounds 3
  shmpipe bench --json > before.json";

pub(super) const DEMO: &str = "\
  shmpipe demo
  shmpipe demo --block 64K --rounds 1
  shmpipe demo file";

pub(super) const COMPLETIONS: &str = "\
  shmpipe completions bash > /etc/bash_completion.d/shmpipe
  shmpipe completions zsh > ~/.zfunc/_shmpipe
  shmpipe completions fish > ~/.config/fish/completions/shmpipe.fish";

pub(super) const MAN: &str = "\
  shmpipe man ~/.local/share/man/man1";
