//! What the tests of the VM lane run in their guests: one static program with many behaviours, named by its first
//! argument; without one it says hello, or serves where it is told a port.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let unnamed = if std::env::var_os("PORT").is_some() { "serve" } else { "hello" };
    let behaviour = arguments.get(1).map_or(unnamed, String::as_str);
    let number = || arguments.get(2).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    match behaviour {
        "hello" => println!("hello"),
        "cat" => drop(std::io::copy(&mut std::io::stdin(), &mut std::io::stdout())),
        "env" => std::env::vars().for_each(|(name, value)| println!("{name}={value}")),
        "linger" => {
            println!("here");
            std::thread::sleep(Duration::from_secs(600));
        }
        "log" => eprintln!("this is logged"),
        "exit" => std::process::exit(i32::try_from(number()).unwrap_or(1)),
        "abort" => std::process::abort(),
        "sleep" => std::thread::sleep(Duration::from_millis(number())),
        "random" => random(),
        "clock" => println!("{}", since_1970().as_millis()),
        "identity" => identity(),
        "streams" => streams(),
        "root" => root(),
        "surroundings" => surroundings(),
        "features" => features(),
        "canary" => canary(arguments.get(2).map_or("", String::as_str)),
        "memory" => memory(number()),
        "fork-bomb" => fork_bomb(),
        "fill" => fill(),
        "burn" => burn(number()),
        "spit" => spit(number()),
        "panic" => drop(std::fs::write("/proc/sysrq-trigger", "c")),
        "escape" => escape(),
        "serve" => serve(true),
        "serve-in-pieces" => serve(false),
        "drive" => drive(arguments.get(2).map_or("", String::as_str)),
        "dial" => dial(arguments.get(2).map_or("", String::as_str), true),
        "ask" => dial(arguments.get(2).map_or("", String::as_str), false),
        "cut" => cut(number(), arguments.get(3).map_or("", String::as_str)),
        "pour" => pour(),
        "seconds" => println!("{:?}", Instant::now()),
        other => {
            eprintln!("no behaviour is called {other}");
            std::process::exit(64);
        }
    }
}

fn since_1970() -> Duration {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Random numbers as programs get them.
fn random() {
    for path in ["/dev/urandom", "/dev/random"] {
        let mut bytes = [0; 32];
        let read = std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut bytes));
        println!("{} {:?}", hex(&bytes), read.is_ok());
    }
    for path in ["/proc/sys/kernel/random/uuid", "/proc/sys/kernel/random/boot_id"] {
        println!("{}", std::fs::read_to_string(path).unwrap_or_default().trim());
    }
    // What the standard library seeds its maps with.
    println!("{:?}", std::collections::hash_map::RandomState::new());
    let seed = std::hash::BuildHasher::hash_one(&std::collections::hash_map::RandomState::new(), 1);
    println!("{seed:x}");
    // Where the kernel has put the stack.
    println!("{:p}", &raw const seed);
}

fn identity() {
    print!("{}", std::fs::read_to_string("/proc/self/status").unwrap_or_default());
    println!("Cwd: {}", std::env::current_dir().unwrap_or_default().display());
}

/// Opens its standard streams by their names, as scripts do.
fn streams() {
    for path in ["/dev/stdout", "/proc/self/fd/1", "/dev/fd/1", "/dev/stderr", "/proc/self/fd/2"] {
        let written = std::fs::File::create(path).and_then(|mut file| writeln!(file, "to {path}"));
        if let Err(error) = written {
            println!("{path}: {error}");
        }
    }
    for path in ["/dev/stdin", "/proc/self/fd/0"] {
        let mut piece = [0; 5];
        match std::fs::File::open(path).and_then(|mut file| file.read_exact(&mut piece)) {
            Ok(()) => println!("{path}: {}", String::from_utf8_lossy(&piece)),
            Err(error) => println!("{path}: {error}"),
        }
    }
}

/// What a container's root does, and then all that it must not be able to do.
fn root() {
    let written = std::fs::write("out.txt", "hi");
    let given = std::os::unix::fs::chown("out.txt", Some(33), Some(33));
    let listening = TcpListener::bind("127.0.0.1:80");
    let dropped = {
        let mut command = std::process::Command::new("/bin/guest");
        std::os::unix::process::CommandExt::uid(&mut command, 33);
        command.arg("streams").stdin(std::process::Stdio::null()).stdout(std::process::Stdio::null()).status()
    };
    let dropped = dropped.is_ok_and(|status| status.success());
    println!("writes {} gives {} listens {} drops {dropped}", written.is_ok(), given.is_ok(), listening.is_ok());
    let node = rustix::fs::mknodat(
        rustix::fs::CWD,
        "node",
        rustix::fs::FileType::CharacterDevice,
        0o666.into(),
        rustix::fs::makedev(1, 3),
    );
    let open_for_writing = |path: &&str| std::fs::OpenOptions::new().write(true).open(path).is_ok();
    let guests = ["/proc/sys/kernel/core_pattern", "/proc/sys/vm/drop_caches", "/sys/kernel/uevent_helper"];
    let open: Vec<&str> = guests.into_iter().filter(open_for_writing).collect();
    println!("nodes {} open {open:?} outside {}", node.is_ok(), outside());
}

/// Whether a root that changes its root comes out of it, to where the agent and its port are.
fn outside() -> bool {
    let _ = std::fs::create_dir("inner");
    if rustix::process::chroot("inner").is_err() {
        return false;
    }
    for _ in 0..64 {
        let _ = rustix::process::chdir("..");
    }
    let _ = rustix::process::chroot(".");
    ["/init", "/modules", "/parts", "/dev/vport0p1", "/dev/vda"].into_iter().any(|path| std::fs::metadata(path).is_ok())
}

/// What a container runtime supplies, and how soon a name is said to be unknown.
fn surroundings() {
    for path in ["/proc/sys/kernel/hostname", "/etc/hostname", "/etc/hosts", "/etc/resolv.conf"] {
        println!("{path}: {}", std::fs::read_to_string(path).unwrap_or_default().trim().replace(['\n', '\t'], " "));
    }
    let mounts = std::fs::read_to_string("/etc/mtab").unwrap_or_default();
    let mounted = |folder: &str| mounts.lines().any(|line| line.split(' ').nth(1) == Some(folder));
    for folder in ["/dev/shm", "/dev/pts", "/dev/mqueue"] {
        println!("{folder}: {}", mounted(folder));
    }
    let terminal = std::fs::OpenOptions::new().read(true).write(true).open("/dev/ptmx");
    println!("/dev/ptmx: {}", terminal.is_ok());
    // As a resolver asks: an identifier, one question, for the address of `no.such`.
    let question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x02no\x04such\0\0\x01\0\x01";
    let mut answer = [0; 64];
    let begin = Instant::now();
    let asked = std::net::UdpSocket::bind("127.0.0.1:0").and_then(|socket| {
        socket.set_read_timeout(Some(Duration::from_secs(4)))?;
        socket.send_to(question, "127.0.0.1:53")?;
        socket.recv(&mut answer)
    });
    let in_time = begin.elapsed() < Duration::from_secs(2);
    println!("no.such: {:?} {} {in_time}", asked.is_ok(), answer[3] & 15);
}

/// What the processor can do, as programs find it.
fn features() {
    let told = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    println!("{}", told.lines().find(|line| line.starts_with("flags")).unwrap_or_default());
}

/// Leaves a mark wherever it can, after it has looked for those of others.
fn canary(mark: &str) {
    let places = ["/tmp", "/dev/shm", "/var/tmp", "/data", "/"];
    let mut found = Vec::new();
    for place in places {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("canary-") {
                found.push(entry.path());
            }
        }
    }
    let written = places.iter().filter(|place| std::fs::write(format!("{place}/canary-{mark}"), mark).is_ok()).count();
    // Memory that was freed by an earlier run would show here.
    let ballast = vec![0x5a_u8; 16 << 20];
    let dirty = ballast.iter().filter(|byte| **byte != 0x5a).count();
    println!("found {} written {written} dirty {dirty}", found.len());
}

fn memory(mib: u64) {
    let mut blocks = Vec::new();
    for _ in 0..mib {
        let mut block = vec![0_u8; 1 << 20];
        block.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
        blocks.push(block);
    }
    println!("touched {}", std::hint::black_box(&blocks).len());
}

/// Threads count as processes do.
fn fork_bomb() {
    let mut count = 0;
    while std::thread::Builder::new().stack_size(16 << 10).spawn(|| std::thread::sleep(Duration::from_secs(60))).is_ok()
    {
        count += 1;
    }
    println!("stopped at {count}");
    let _ = std::io::stdout().flush();
    std::process::exit(0);
}

fn fill() {
    let block = vec![7_u8; 1 << 20];
    let mut written = 0;
    let error = match std::fs::File::create("/tmp/fill") {
        Ok(mut file) => loop {
            match file.write_all(&block) {
                Ok(()) => written += 1,
                Err(error) => break error,
            }
        },
        Err(error) => error,
    };
    println!("wrote {written} MiB, then {error}");
}

/// Two threads compute, each for that many milliseconds of its own CPU time, and memory is touched; says what the
/// process has used by its own clock.
fn burn(ms: u64) {
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(move || spin(Duration::from_millis(ms)))).collect();
    threads.into_iter().for_each(|thread| drop(thread.join()));
    memory(arguments_mib());
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    println!("used {} us", used.tv_sec * 1_000_000 + used.tv_nsec / 1000);
}

fn arguments_mib() -> u64 {
    std::env::args().nth(3).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn spin(cpu: Duration) {
    let used = || {
        let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
        Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
    };
    let start = used();
    let mut state = 1_u64;
    while used().saturating_sub(start) < cpu {
        for _ in 0..100_000 {
            state ^= state << 13;
            state ^= state >> 7;
        }
        state = std::hint::black_box(state);
    }
}

/// That many MiB to stdout; 0: without end.
fn spit(mib: u64) {
    let block: Vec<u8> = (0..1 << 20).map(|at: u32| at.to_le_bytes()[0]).collect();
    let mut stdout = std::io::stdout();
    let mut turn = 0;
    while mib == 0 || turn < mib {
        if stdout.write_all(&block).is_err() {
            return;
        }
        turn += 1;
    }
}

/// Everything here must fail.
fn escape() {
    let mut open = Vec::new();
    for path in
        ["/dev/vport0p1", "/dev/vda", "/dev/mem", "/dev/ttyS0", "/proc/1/environ", "/sys/fs/cgroup/workload/pids.max"]
    {
        if std::fs::OpenOptions::new().write(true).open(path).is_ok()
            || std::fs::read(path).is_ok_and(|read| !read.is_empty())
        {
            open.push(path);
        }
    }
    let others = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let others = others.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
    println!("open {open:?} processes {others}");
}

/// How many bytes must come from the drives so that this file can be read.
fn drive(path: &str) {
    let before = read_from_drives();
    if let Err(error) = std::fs::read(path) {
        eprintln!("{path}: {error}");
        std::process::exit(1);
    }
    println!("{}", read_from_drives() - before);
}

fn read_from_drives() -> u64 {
    let drives = ["vda", "vdb"].map(|name| std::fs::read_to_string(format!("/sys/block/{name}/stat")));
    let sectors = drives.iter().flatten().filter_map(|stat| stat.split_whitespace().nth(2)?.parse::<u64>().ok());
    sectors.sum::<u64>() * 512
}

/// A small HTTP/1.1 server: `/` says hello, `/echo` returns the body, `/slow` waits, `/exit` ends the process. Without
/// `at_once` the kernel holds each second piece of an answer back until the first is acknowledged.
fn serve(at_once: bool) {
    let port = std::env::var("PORT").unwrap_or_default();
    let Ok(listener) = TcpListener::bind(format!("127.0.0.1:{port}")) else { std::process::exit(3) };
    println!("listening");
    for (served, connection) in (1..).zip(listener.incoming().flatten()) {
        std::thread::spawn(move || {
            if at_once && connection.set_nodelay(true).is_err() {
                return;
            }
            drop(converse(connection, served));
        });
    }
}

fn converse(connection: TcpStream, number: u32) -> std::io::Result<()> {
    let mut writer = connection.try_clone()?;
    let mut reader = BufReader::new(connection);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let path = line.split(' ').nth(1).unwrap_or("/").to_owned();
        let mut length = 0;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let header = header.trim().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let answer = match path.as_str() {
            "/echo" => body,
            "/slow" => {
                std::thread::sleep(Duration::from_millis(500));
                b"slow\n".to_vec()
            }
            "/exit" => std::process::exit(5),
            _ => format!("hello {number}\n").into_bytes(),
        };
        write!(writer, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", answer.len())?;
        writer.write_all(&answer)?;
    }
}

/// The workload's proxy, as programs find it.
fn proxy() -> std::io::Result<TcpStream> {
    let named = std::env::var("http_proxy").unwrap_or_default();
    let address = named.strip_prefix("http://").unwrap_or("127.0.0.1:3128").to_owned();
    TcpStream::connect(address)
}

/// Says that to the proxy, where `^` is the end of a line, and no more if it is all; then all that comes back.
fn dial(text: &str, is_all: bool) {
    let said = proxy().and_then(|mut connection| {
        connection.write_all(text.replace('^', "\r\n").as_bytes())?;
        if is_all {
            connection.shutdown(std::net::Shutdown::Write)?;
        }
        std::io::copy(&mut connection, &mut std::io::stdout())
    });
    if let Err(error) = said {
        println!("failed: {:?}", error.kind());
    }
}

/// That many connections, each cut at another point; then as many at one time as there may be, and all of them work.
fn cut(count: u64, target: &str) {
    let connect = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
    for turn in 0..count {
        let Ok(mut connection) = proxy() else { return println!("cut off at {turn}") };
        let mut piece = [0; 16];
        match turn % 4 {
            0 => {}
            1 => drop(connection.write_all(&connect.as_bytes()[..10])),
            2 => drop(connection.write_all(connect.as_bytes())),
            _ => drop(connection.write_all(connect.as_bytes()).and_then(|()| connection.read(&mut piece))),
        }
    }
    let mut open: Vec<TcpStream> = (0..64).filter_map(|_| proxy().ok()).collect();
    let mut worked = 0;
    for connection in &mut open {
        drop(connection.write_all(connect.as_bytes()));
    }
    for connection in &mut open {
        let mut answer = [0; 12];
        worked += u32::from(connection.read_exact(&mut answer).is_ok() && &answer == b"HTTP/1.1 200");
    }
    println!("{worked} of {} work", open.len());
}

/// As much as goes to the proxy until it takes nothing for three seconds.
fn pour() {
    let Ok(mut connection) = proxy() else { return };
    let _ = connection.set_write_timeout(Some(Duration::from_secs(1)));
    let (block, mut written) = (vec![7_u8; 32 << 10], 0);
    while let Ok(count @ 1..) = connection.write(&block) {
        written += count;
    }
    println!("{written}");
}
