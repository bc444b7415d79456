//! A disk whose power can be cut: an ext4 file system in a file.
//!
//! `EXT4_IOC_SHUTDOWN` without a flush of the log: from then on nothing is written any more, and what was written and
//! not synced is dropped with the page cache when it is unmounted. What the file behind it holds is what a disk would
//! that lost its power after its last completed write. A disk that loses what it has acknowledged as flushed, or
//! carries out its writes in another order, is not this.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// `_IOR('X', 125, __u32)` with `EXT4_GOING_FLAGS_NOLOGFLUSH`. The crate has no unsafe code, the test neither.
const SHUTDOWN: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

const SIZE: u64 = 256 << 20;
const UNMOUNT_WITHIN: Duration = Duration::from_secs(15);
const BLOCK: usize = 8192;

pub(crate) struct Disk {
    image: PathBuf,
    at: PathBuf,
}

/// Why no power can be cut here.
pub(crate) fn impossible() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("they need root, to mount a file system".to_owned());
    }
    if !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices".to_owned());
    }
    let tools = [("mkfs.ext4", "-V"), ("mount", "-V"), ("unshare", "-V"), ("python3", "-V")];
    let lacks = |(tool, ask): &(&str, &str)| Command::new(tool).arg(ask).output().is_err();
    tools.iter().find(|tool| lacks(tool)).map(|(tool, _)| format!("{tool} is not installed"))
}

impl Disk {
    pub(crate) fn new(folder: &Path) -> Result<Self, String> {
        let disk = Self { image: folder.join("disk.img"), at: folder.join("disk") };
        let made = File::create(&disk.image).and_then(|file| file.set_len(SIZE));
        made.and_then(|()| std::fs::create_dir(&disk.at)).map_err(|e| e.to_string())?;
        said(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&disk.image))?;
        disk.mount()?;
        Ok(disk)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    pub(crate) fn mount(&self) -> Result<(), String> {
        said(Command::new("mount").args(["-t", "ext4", "-o", "loop"]).arg(&self.image).arg(&self.at))
    }

    /// From here on it takes nothing any more.
    pub(crate) fn cut(&self) -> Result<(), String> {
        said(Command::new("python3").args(["-c", SHUTDOWN]).arg(&self.at))
    }

    /// Whoever had files open on it ends a moment later.
    pub(crate) async fn unmount(&self) -> Result<(), String> {
        let started = Instant::now();
        loop {
            match said(Command::new("umount").arg(&self.at)) {
                Ok(()) => return Ok(()),
                Err(why) if started.elapsed() > UNMOUNT_WITHIN => return Err(why),
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// That a cut takes what was not synced, and leaves what was. Both in new blocks and over old ones: SQLite's log is
    /// first appended to, and after a checkpoint written over in place.
    pub(crate) fn check_the_method(&self) -> Result<String, String> {
        self.put("old-unsynced", b'A', true)?;
        self.put("old-synced", b'A', true)?;
        self.put("old-unsynced", b'B', false)?;
        self.put("old-synced", b'B', true)?;
        self.put("new-synced", b'B', true)?;
        self.put("new-unsynced", b'B', false)?;
        self.cut()?;
        if self.put("new-synced", b'C', true).is_ok() {
            return Err("the method does not hold: after the cut a write can still be synced".to_owned());
        }
        said(Command::new("umount").arg(&self.at))?;
        self.mount()?;
        for (name, expected) in [
            ("old-unsynced", Some(b'A')),
            ("old-synced", Some(b'B')),
            ("new-synced", Some(b'B')),
            ("new-unsynced", None),
        ] {
            let found = self.get(name);
            if found != expected {
                return Err(format!(
                    "the method does not hold: {name} is {found:?} after a cut, not {expected:?}"
                ));
            }
            drop(std::fs::remove_file(self.path(name)));
        }
        Ok("after a cut what was synced is there, in new blocks and over old ones, and what was not is gone"
            .to_owned())
    }

    /// Two blocks of one byte over whatever is there.
    fn put(&self, name: &str, byte: u8, sync: bool) -> Result<(), String> {
        let file = OpenOptions::new().create(true).write(true).truncate(false).open(self.path(name));
        let written = file.and_then(|mut file| {
            file.write_all(&[byte; BLOCK])?;
            if sync { file.sync_all() } else { Ok(()) }
        });
        written.map_err(|e| format!("{name}: {e}"))
    }

    /// The byte that fills it; none where it is not there, short, or mixed.
    fn get(&self, name: &str) -> Option<u8> {
        let mut bytes = Vec::new();
        File::open(self.path(name)).and_then(|mut file| file.read_to_end(&mut bytes)).ok()?;
        let first = *bytes.first()?;
        (bytes.len() == BLOCK && bytes.iter().all(|byte| *byte == first)).then_some(first)
    }
}

/// What it says on standard error, where it fails.
fn said(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("{}: {e}", command.get_program().display()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{}: {}", command.get_program().display(), String::from_utf8_lossy(&output.stderr).trim()))
}
