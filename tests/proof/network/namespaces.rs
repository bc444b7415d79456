//! Network namespaces, joined by a bridge in a namespace of its own; this process reaches them all. Linux, root and
//! iproute2 are needed.

use crate::harness::Random;
use crate::harness::guard::Watchdog;
use crate::harness::postgres::Elsewhere;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// The worker that is cut off.
    First,
    /// The one that is not.
    Second,
    Redis,
    Database,
}

impl Node {
    const ALL: [Self; 4] = [Self::First, Self::Second, Self::Redis, Self::Database];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Second => "second",
            Self::Redis => "redis",
            Self::Database => "database",
        }
    }

    /// The last part of its address. This process is 1.
    const fn host(self) -> u8 {
        match self {
            Self::First => 11,
            Self::Second => 12,
            Self::Redis => 21,
            Self::Database => 22,
        }
    }
}

/// What is lost on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// What the worker sends.
    Requests,
    /// What the service answers: it does what it was asked, and nobody hears of it.
    Answers,
    Both,
}

impl Way {
    pub(crate) const ALL: [Self; 3] = [Self::Requests, Self::Answers, Self::Both];

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests are lost",
            Self::Answers => "answers are lost",
            Self::Both => "both ways",
        }
    }
}

pub(crate) struct Network {
    /// Begins the names of its namespaces.
    tag: String,
    /// The first three bytes of its addresses.
    subnet: [u8; 3],
    watchdog: Watchdog,
}

/// Nobody has this hardware address: what is sent to it is lost without a word.
const NOBODY: &str = "02:00:00:00:00:fe";

const REMOVE: &str =
    "ip netns list | cut -d ' ' -f 1 | grep \"^$1-\" | while read -r n; do ip netns del \"$n\"; done";

impl Network {
    /// Err: why there can be none.
    pub(crate) fn new(seed: u64) -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("only root may make network namespaces".to_owned());
        }
        let mut random = Random(seed ^ u64::from(std::process::id()));
        let mut byte = |from: u64, count: u64| u8::try_from(from + random.below(count)).unwrap_or(77);
        let subnet = [10, byte(64, 128), byte(0, 256)];
        // A name of its own for each: the kernel takes down a former one's devices behind our back.
        static MADE: AtomicU32 = AtomicU32::new(0);
        let tag = format!("oe{}n{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
        let watchdog = Watchdog::start(REMOVE, &[&tag]).map_err(|e| e.to_string())?;
        let network = Self { tag, subnet, watchdog };
        network.build().map_err(|why| format!("network namespaces cannot be made: {why}"))?;
        Ok(network)
    }

    fn build(&self) -> Result<(), String> {
        let hub = format!("{}-hub", self.tag);
        ip(&["netns", "add", &hub])?;
        ip(&["-n", &hub, "link", "add", "bridge", "type", "bridge"])?;
        ip(&["-n", &hub, "link", "set", "bridge", "up"])?;
        let own = format!("{}-v", self.tag);
        ip(&["link", "add", &own, "type", "veth", "peer", "name", "host", "netns", &hub])?;
        ip(&["addr", "add", &format!("{}/24", self.ip(1)), "dev", &own])?;
        ip(&["link", "set", &own, "up"])?;
        self.plug(&hub, "host")?;
        for node in Node::ALL {
            let space = self.space(node);
            ip(&["netns", "add", &space])?;
            let peer = ["type", "veth", "peer", "name", node.as_str(), "netns", &hub];
            ip(&[&["-n", &space, "link", "add", "eth0"][..], &peer].concat())?;
            ip(&["-n", &space, "addr", "add", &format!("{}/24", self.ip(node.host())), "dev", "eth0"])?;
            ip(&["-n", &space, "link", "set", "eth0", "up"])?;
            ip(&["-n", &space, "link", "set", "lo", "up"])?;
            self.plug(&hub, node.as_str())?;
        }
        Ok(())
    }

    fn plug(&self, hub: &str, port: &str) -> Result<(), String> {
        ip(&["-n", hub, "link", "set", port, "master", "bridge"])?;
        ip(&["-n", hub, "link", "set", port, "up"])
    }

    fn space(&self, node: Node) -> String {
        format!("{}-{}", self.tag, node.as_str())
    }

    fn ip(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = self.subnet;
        Ipv4Addr::new(a, b, c, host)
    }

    /// The words before a command that is to run there.
    pub(crate) fn wrapper(&self, node: Node) -> Vec<String> {
        ["ip", "netns", "exec", &self.space(node)].map(str::to_owned).to_vec()
    }

    pub(crate) fn elsewhere(&self, node: Node) -> Elsewhere {
        Elsewhere { wrapper: self.wrapper(node), address: self.ip(node.host()) }
    }

    /// From now on everything that goes this way between the two is lost. Connections stay as they are.
    pub(crate) fn cut(&self, worker: Node, service: Node, way: Way) -> Result<(), String> {
        if way != Way::Answers {
            self.lose(worker, service)?;
        }
        if way != Way::Requests {
            self.lose(service, worker)?;
        }
        Ok(())
    }

    fn lose(&self, from: Node, to: Node) -> Result<(), String> {
        let (space, to) = (self.space(from), self.ip(to.host()).to_string());
        ip(&["-n", &space, "neigh", "replace", &to, "lladdr", NOBODY, "dev", "eth0", "nud", "permanent"])
    }

    pub(crate) fn heal(&self) -> Result<(), String> {
        for node in Node::ALL {
            ip(&["-n", &self.space(node), "neigh", "flush", "nud", "permanent", "dev", "eth0"])?;
        }
        Ok(())
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in Node::ALL.map(|node| self.space(node)).into_iter().chain([format!("{}-hub", self.tag)]) {
            drop(ip(&["netns", "del", &name]));
        }
        self.watchdog.call_off();
    }
}

fn ip(words: &[&str]) -> Result<(), String> {
    let ran = Command::new("ip").args(words).output().map_err(|e| format!("ip (iproute2): {e}"))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(format!("ip {}: {}", words.join(" "), String::from_utf8_lossy(&ran.stderr).trim()))
}
