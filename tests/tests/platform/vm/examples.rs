//! The examples that need more of a VM than a base and one CPU, run for real.

use tests::{Platform, examples};

use super::{needs_vm_lane, number, settled};
use crate::run_path::{plain, send};

/// A second of a tone, as a WAV file.
fn tone(hertz: f64) -> Vec<u8> {
    const RATE: u32 = 8000;
    let sample = |at: u32| (f64::from(at) * hertz * std::f64::consts::TAU / f64::from(RATE)).sin() * 12_000.0;
    #[allow(clippy::cast_possible_truncation, reason = "it fits")]
    let samples: Vec<u8> = (0..RATE).flat_map(|at| (sample(at) as i16).to_le_bytes()).collect();
    let length = u32::try_from(samples.len()).unwrap();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(RATE.to_le_bytes());
    file.extend((RATE * 2).to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend(length.to_le_bytes());
    file.extend(samples);
    file
}

/// Width and height of a PNG.
fn size_of(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n") && png.ends_with(b"IEND\xaeB`\x82"), "no whole PNG");
    let at = |from: usize| u32::from_be_bytes(png[from..from + 4].try_into().unwrap());
    (at(16), at(20))
}

pub(super) fn a_tool_of_debians_packages_draws_a_sound(platform: &Platform) {
    let eve = platform.user("eve");
    needs_vm_lane(&eve);
    eve.ok(&format!("deploy {} --memory 256MiB", examples().join("spectrogram").display()));
    let version = eve.json("versions show spectrogram v1");
    assert_eq!((&version["runs_in"], &version["format"]), (&"vm".into(), &"files".into()), "{version}");
    let key = eve.token();
    let pictures = [440.0, 3000.0].map(|hertz| {
        let answer = send("POST", &format!("{}/f/eve/spectrogram", platform.url), Some(&key), "", &tone(hertz));
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("image/png")), "{answer:?}");
        plain(&answer)
    });
    for picture in &pictures {
        let (width, height) = size_of(picture);
        assert!(width > 500 && height > 300, "{width} x {height}");
    }
    assert_ne!(pictures[0], pictures[1], "two sounds look alike");
    // What is no sound is the tool's to refuse; it says so in the log.
    eve.fails("invoke spectrogram -d nonsense", 1, "function_exit");
    tests::wait_until("its log has come", std::time::Duration::from_secs(10), || {
        eve.ok("logs spectrogram").contains("sox FAIL")
    });
}

pub(super) fn a_function_keeps_two_cpus_busy(platform: &Platform) {
    let bea = platform.user("bea");
    needs_vm_lane(&bea);
    assert!(bea.json("nodes list")["items"][0]["cores"].as_u64() >= Some(2), "two busy cores need two cores");
    bea.ok(&format!("deploy {} --memory 256MiB", examples().join("primes").display()));
    let said = bea.ok("invoke primes '/count?below=5000000'");
    assert!(said.starts_with("348513 primes below 5000000, counted by 2 threads in "), "{said}");
    let busy_ms: f64 = said.split(' ').rev().nth(1).unwrap().parse().unwrap();
    let record = settled(&bea, "primes", "/count");
    assert_eq!(record["lane"], "vm", "{record}");
    let cpus = number(&record["usage"]["cpu_us"]) / 1e3 / busy_ms;
    assert!((1.6..2.6).contains(&cpus), "{cpus} CPUs were busy for {busy_ms} ms: {record}");
}
