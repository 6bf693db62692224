//! Holes, cuts and flipped bits at every page of the log's tail and of the catalog's files.
//!
//! The store opens with everything that was confirmed, or says which file is corrupt and where; it is never wrong in
//! silence. One exception no log can avoid: turns of the last two pages, when those are damaged before a checkpoint came after
//! them (half a second), look as if they had never been whole. They are dropped, and that is logged.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use super::*;

const PAGE: u64 = 4096;
const LAST_PAGES: u64 = 2 * PAGE;

fn small_options(dir: &Path) -> Options {
    // The catalog is written when the test says so.
    Options {
        segment_bytes: 128 << 10,
        first_segment_bytes: 128 << 10,
        checkpoint_every_ms: 3_600_000,
        ..options(dir)
    }
}

/// Everything a test knows of a store's content.
#[derive(Debug, PartialEq, Clone)]
struct Content {
    state: Vec<(Bytes, Bytes)>,
    index: Vec<(Bytes, Bytes)>,
}

/// What a damaged store says.
fn content(store: &Store, places: &[Place]) -> Result<Content, StoreError> {
    for (n, place) in places.iter().enumerate() {
        match store.read(*place) {
            Ok(bytes) => assert_eq!(bytes, payload(n), "a damaged chunk was handed out"),
            Err(StoreError::Read { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    Ok(Content { state: store.scan(Space::State, b"")?, index: store.scan(Space::Index, b"")? })
}

fn payload(n: usize) -> Vec<u8> {
    (0..2500).map(|i| (i * 7 + n * 13) as u8).collect()
}

fn ops(n: usize) -> Vec<Op> {
    let key = n.to_be_bytes();
    let mut ops = vec![
        Op::Chunk(payload(n)),
        Op::Insert(Space::Index, [b"i", &key[..]].concat(), key.to_vec()),
        Op::Put(Space::State, b"last".to_vec(), key.to_vec()),
        Op::Put(Space::State, [b"s", &key[..]].concat(), vec![n as u8; 200]),
    ];
    if n >= 3 {
        ops.push(Op::Delete(Space::Index, [b"i", &(n - 3).to_be_bytes()[..]].concat()));
    }
    ops
}

/// A directory that was crashed, and the contents after its last turn, the one before and the one before that.
struct Made {
    dir: tempfile::TempDir,
    places: Vec<Place>,
    full: Content,
    but_last: Vec<Content>,
}

/// `before`: turns before a checkpoint after which the keys of `tables` go to tables; `between`: before one that stays in fjall's journal;
/// `after`: only in the log.
fn make(before: usize, between: usize, after: usize, tables: &[Space]) -> Made {
    let dir = tempfile::tempdir().unwrap();
    let told = Log::default();
    let store = Store::open(small_options(dir.path())).unwrap();
    let mut but_last = Vec::new();
    for n in 0..before + between + after {
        if n + 2 >= before + between + after {
            but_last.push(content(&store, &[]).unwrap());
        }
        commit(&store, &told, n as u64, ops(n));
        if n + 1 == before {
            checkpoint::run(store.shared(), false).unwrap();
            if let catalog::Catalog::Fjall(fjall) = &*store.shared().catalog.read() {
                fjall.write_tables(tables);
            }
        } else if n + 1 == before + between || (n > before && n < before + between && n % 5 == 0) {
            checkpoint::run(store.shared(), false).unwrap();
        }
    }
    let places = told.lock().places.clone();
    let full = content(&store, &places).unwrap();
    Made { dir, places, full, but_last }
}

/// A file's bytes without the zeros at its end, and its length.
fn read_sparse(path: &Path) -> (Vec<u8>, u64) {
    let mut file = File::open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let mut end = 0;
    while let Ok(data) = rustix::fs::seek(&file, rustix::fs::SeekFrom::Data(end)) {
        end = rustix::fs::seek(&file, rustix::fs::SeekFrom::Hole(data)).unwrap();
    }
    std::io::Seek::rewind(&mut file).unwrap();
    let mut bytes = Vec::new();
    file.take(end).read_to_end(&mut bytes).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    bytes.truncate(used);
    (bytes, len)
}

type Files = BTreeMap<PathBuf, (Vec<u8>, u64)>;

fn files(dir: &Path, below: &Path, found: &mut Files) {
    for entry in fs::read_dir(dir.join(below)).unwrap() {
        let entry = entry.unwrap();
        let path = below.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            files(dir, &path, found);
        } else {
            found.insert(path.clone(), read_sparse(&dir.join(path)));
        }
    }
}

fn write(files: &Files) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, (bytes, len)) in files {
        let path = dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut file = File::create(&path).unwrap();
        file.write_all(bytes).unwrap();
        file.set_len(*len).unwrap();
    }
    dir
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    Flip,
    Hole,
}

fn damage(path: &Path, damage: Damage, position: u64) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    match damage {
        Damage::Cut => file.set_len(position).unwrap(),
        Damage::Flip => {
            let mut byte = [0];
            file.read_exact_at(&mut byte, position).unwrap();
            file.write_all_at(&[byte[0] ^ 0x10], position).unwrap();
        }
        Damage::Hole => {
            let len = file.metadata().unwrap().len().saturating_sub(position).min(PAGE);
            file.write_all_at(&vec![0; len as usize], position).unwrap();
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
struct Outcomes {
    whole: u32,
    without_last: u32,
    reported: u32,
    read_errors: u32,
}

/// Damages each page of the files that `wanted` picks, one at a time.
fn try_all(made: &Made, wanted: impl Fn(&Path) -> bool, step: u64) -> Outcomes {
    let mut all = Files::new();
    files(made.dir.path(), Path::new(""), &mut all);
    let mut outcomes = Outcomes::default();
    for (path, (bytes, _)) in all.iter().filter(|(path, _)| wanted(path)) {
        let used = bytes.len() as u64;
        for page in 0..used.div_ceil(step) {
            let position = page * step;
            let inside = (position + (page * 37) % step).min(used - 1);
            for (kind, position) in
                [(Damage::Hole, position), (Damage::Cut, position), (Damage::Flip, inside)]
            {
                let dir = write(&all);
                damage(&dir.path().join(path), kind, position);
                let what = format!("{kind:?} at byte {position} of {used} of {}", path.display());
                // Two turns may lie in the last two pages, and one may begin in the page before.
                let may_lose = match (path.starts_with("log"), used - position) {
                    (true, ..=LAST_PAGES) => 2,
                    (true, _) => 1,
                    (false, _) => 0,
                };
                judge(made, dir.path(), &what, may_lose, &mut outcomes);
            }
        }
    }
    outcomes
}

fn judge(made: &Made, dir: &Path, what: &str, may_lose: usize, outcomes: &mut Outcomes) {
    match Store::open(small_options(dir)) {
        Err(error) => {
            assert!(error.to_string().contains(&dir.display().to_string()), "{what}: {error}");
            outcomes.reported += 1;
        }
        Ok(store) => match content(&store, &made.places) {
            Ok(found) if found == made.full => outcomes.whole += 1,
            Ok(found) if made.but_last.iter().rev().take(may_lose).any(|content| *content == found) => {
                outcomes.without_last += 1;
            }
            Ok(found) => panic!("{what}: wrong in silence, {} keys of state", found.state.len()),
            Err(_) => outcomes.read_errors += 1,
        },
    }
}

#[test]
fn the_log_is_never_wrong_in_silence() {
    let made = make(0, 12, 36, &[]);
    let outcomes = try_all(&made, |path| path.starts_with("log"), PAGE);
    assert!(outcomes.whole > 10 && outcomes.reported > 50, "{outcomes:?}");
    assert!((1..8).contains(&outcomes.without_last), "{outcomes:?}");
}

#[test]
fn fjalls_journal_is_never_wrong_in_silence() {
    let made = make(0, 60, 3, &[]);
    let is_journal = |path: &Path| path.extension().is_some_and(|ext| ext == "jnl");
    let outcomes = try_all(&made, is_journal, PAGE);
    // The log still has everything, so a damaged journal costs nothing.
    assert!(outcomes.whole > 6 && outcomes.reported == 0 && outcomes.read_errors == 0, "{outcomes:?}");
}

#[test]
fn damage_in_a_sealed_journal_is_reported() {
    let made = make(0, 60, 3, &[]);
    let mut all = Files::new();
    files(made.dir.path(), Path::new(""), &mut all);
    let is_journal = |path: &Path| path.extension().is_some_and(|ext| ext == "jnl");
    let (path, (bytes, _)) =
        all.iter().find(|(path, _)| is_journal(path)).map(|(p, f)| (p.clone(), f.clone())).unwrap();
    // A later, empty one seals it.
    all.insert(path.with_file_name("9.jnl"), (Vec::new(), 0));
    assert_eq!(journal::check(&write(&all).path().join("catalog")).unwrap(), None);
    for position in (0..bytes.len() as u64).step_by(997) {
        let dir = write(&all);
        damage(&dir.path().join(&path), Damage::Flip, position);
        match journal::check(&dir.path().join("catalog")) {
            Err(OpenError::Corrupt { file, position: found, .. }) => {
                assert!(file.ends_with(&path) && found <= position, "{} {found} {position}", file.display());
            }
            other => panic!("a flip at {position}: {other:?}"),
        }
    }
}

#[test]
fn fjalls_tables_are_never_wrong_in_silence() {
    let made = make(40, 3, 3, &Space::ALL);
    let is_table =
        |path: &Path| path.starts_with("catalog") && path.extension().is_none_or(|ext| ext != "jnl");
    let outcomes = try_all(&made, is_table, PAGE);
    assert!(outcomes.reported + outcomes.read_errors > 20, "{outcomes:?}");
}
