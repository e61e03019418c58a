//! A description of the machine.

use std::fs;
use std::process::Command;

/// The processor from /proc/cpuinfo, with family and model, since a hypervisor's name says
/// little.
pub(crate) fn cpu() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = text
            .lines()
            .find(|line| line.split(':').next().map(str::trim) == Some(name));
        line.and_then(|line| line.split(':').nth(1))
            .map_or("?", str::trim)
    };
    let (name, family, model) = (field("model name"), field("cpu family"), field("model"));
    let guest = if field("flags").contains(" hypervisor") {
        ", a guest"
    } else {
        ""
    };
    format!("{name} (family {family}, model {model}){guest}")
}

pub(crate) fn caches() -> String {
    let mut caches = Vec::new();
    for index in 0..4 {
        let base = format!("/sys/devices/system/cpu/cpu0/cache/index{index}");
        let read = |name| fs::read_to_string(format!("{base}/{name}"));
        if let (Ok(level), Ok(kind), Ok(size)) = (read("level"), read("type"), read("size"))
            && kind.trim() != "Instruction"
        {
            caches.push(format!("L{} {}", level.trim(), size.trim()));
        }
    }
    caches.join(", ")
}

pub(crate) fn kernel() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Linux {}", release.trim())
}

pub(crate) fn rustc() -> String {
    let output = Command::new("rustc").arg("--version").output();
    output.map_or("?".into(), |output| {
        String::from_utf8_lossy(&output.stdout).trim().into()
    })
}
