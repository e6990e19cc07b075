//! Committed blocks of format 1. They are in stores and in people's files: a test that fails here means that what was
//! written is not read any more. Add a format instead; never rewrite a file.

use super::sample::{NOW, SALT, account, bare, body, full};
use crate::download::{Lines, Period, Reader, block_line};
use crate::{Body, FORMAT, Header, Run, Sealed, Totals, seal};

const HEADER: &str = include_str!("golden/block_v1_header.json");
const BODY: &[u8] = include_bytes!("golden/block_v1_body.bin");
const DOWNLOAD: &[u8] = include_bytes!("golden/download_v1.ndjson");

/// What was sealed, as the second block of its account: two frames.
fn runs() -> Vec<Run> {
    (10..310).map(|number| if number % 7 == 0 { full(number) } else { bare(number) }).collect()
}

fn sealed() -> [Sealed; 2] {
    let first = seal(account(), SALT, None, NOW, vec![full(1)]).unwrap();
    let second = seal(account(), SALT, Some(&first.text), NOW, runs()).unwrap();
    [first, second]
}

fn download(blocks: &[Sealed; 2]) -> Vec<u8> {
    let mut text = block_line(&blocks[0].text, Lines::Gone).into_bytes();
    text.extend(block_line(&blocks[1].text, Lines::Follow).into_bytes());
    text.extend(body(&blocks[1]).text().unwrap());
    text
}

#[test]
fn a_block_of_format_1_is_read() {
    let header = Header::parse(HEADER.trim_end()).unwrap();
    assert_eq!((header.format, header.number, header.totals), (1, 2, Totals::sum(&runs())));
    let body = Body::open(BODY).unwrap();
    assert_eq!(body.check(&header), Ok(()));
    let read: Vec<Run> = (0..body.frames().len()).flat_map(|index| body.frame(index).unwrap()).collect();
    assert_eq!(read, runs());
}

#[test]
fn a_download_of_format_1_is_read() {
    let mut reader = Reader::new(Period::default());
    reader.feed(DOWNLOAD, |_| ());
    let report = reader.end();
    assert_eq!((report.faults_count, report.blocks, report.gone), (0, 2, 1));
    assert_eq!(report.totals, Totals::sum(&runs()));
}

/// What is written anew; compressed bytes are another compressor's to change.
#[test]
fn a_block_is_written_as_committed() {
    assert_eq!(FORMAT, 1);
    let blocks = sealed();
    assert_eq!(blocks[1].text, HEADER.trim_end());
    assert_eq!(body(&blocks[1]).text(), Body::open(BODY).unwrap().text());
    assert_eq!(String::from_utf8(download(&blocks)).unwrap(), String::from_utf8_lossy(DOWNLOAD));
}
