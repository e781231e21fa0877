//! Compiling for a machine without an operating system, whether or not rustup can fetch its std.

use super::cargo;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

/// How to compile for a target: with its std, or with the source of one, as `scripts/cross.sh` does.
#[derive(Clone, Debug)]
pub struct Cross {
    arguments: Vec<String>,
    /// Variables for cargo.
    variables: Vec<(String, String)>,
    /// The directory of cargo and rustc, if they are not those that run this program.
    tools: Option<PathBuf>,
}

/// What builds std, or rather what of it such a machine has.
const BUILD_STD: [&str; 4] = [
    "-Z",
    "build-std=core,alloc,compiler_builtins",
    "-Z",
    "build-std-features=compiler-builtins-mem",
];

impl Cross {
    /// The way for a target and a processor; `None` if there is none here.
    ///
    /// # Errors
    /// rustc cannot be run.
    pub fn find(triple: &str, cpu: Option<&str>) -> io::Result<Option<Cross>> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let own = Path::new(&rustc);
        let prefix = format!("CARGO_TARGET_{}", triple.to_uppercase().replace(['-', '.'], "_"));
        // What the compiler notices of flashlet is for those who test it.
        let flags = format!(
            "-A warnings{}",
            cpu.map_or(String::new(), |cpu| format!(" -C target-cpu={cpu}"))
        );
        let mut cross = Cross {
            arguments: vec!["--target".to_owned(), triple.to_owned()],
            variables: vec![(format!("{prefix}_RUSTFLAGS"), flags)],
            tools: None,
        };
        let library = print(own, &["--print", "target-libdir", "--target", triple])?;
        if library.is_some_and(|directory| directory.is_dir()) {
            return Ok(Some(cross));
        }
        let Some(sysroot) = print(own, &["--print", "sysroot"])? else { return Ok(None) };
        let Some(tools) = with_source([sysroot.join("bin"), PathBuf::from("/usr/bin")])? else {
            return Ok(None);
        };
        cross.arguments.extend(BUILD_STD.map(str::to_owned));
        let text = |path: PathBuf| path.to_string_lossy().into_owned();
        cross.variables.push(("RUSTC_BOOTSTRAP".to_owned(), "1".to_owned()));
        for (name, tool) in [("RUSTC", "rustc"), ("RUSTDOC", "rustdoc")] {
            cross.variables.push((name.to_owned(), text(tools.join(tool))));
        }
        // A distribution's toolchain has no linker for such machines; rustup's has.
        let linker = linker(&sysroot).map(|linker| (format!("{prefix}_LINKER"), text(linker)));
        cross.variables.extend(linker);
        Ok(Some(Cross { tools: Some(tools), ..cross }))
    }

    /// What stands behind cargo's command.
    pub(super) fn arguments(&self) -> &[String] {
        &self.arguments
    }

    /// cargo, for a command.
    pub(super) fn cargo(&self) -> Command {
        let mut command = match &self.tools {
            Some(tools) => Command::new(tools.join("cargo")),
            None => cargo(),
        };
        // Flags of this machine are not those of the other.
        command.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command
    }
}

/// The first directory whose rustc has std's source.
fn with_source(directories: [PathBuf; 2]) -> io::Result<Option<PathBuf>> {
    for tools in directories {
        let rustc = tools.join("rustc");
        if !rustc.is_file() {
            continue;
        }
        let sysroot = print(&rustc, &["--print", "sysroot"])?;
        if sysroot.is_some_and(|sysroot| sysroot.join("lib/rustlib/src/rust/library").is_dir()) {
            return Ok(Some(tools));
        }
    }
    Ok(None)
}

/// rust-lld of a toolchain, whatever host it is for.
fn linker(sysroot: &Path) -> Option<PathBuf> {
    let hosts = fs::read_dir(sysroot.join("lib/rustlib")).ok()?;
    let linkers = hosts.flatten().map(|host| host.path().join("bin/rust-lld"));
    linkers.into_iter().find(|linker| linker.is_file())
}

/// What rustc prints, if it knows what it is asked.
fn print(rustc: &Path, arguments: &[&str]) -> io::Result<Option<PathBuf>> {
    let output = Command::new(rustc).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    Ok(output.status.success().then(|| text.into()))
}
