//! Projects with plugins that are written for one test.

use kit::Project;
use sha2::{Digest, Sha256};
use syncset_plugin_guests::{LOG, RESULT, Wat, words};

/// What a plugin returns as an error: the message at this address, of so many bytes, and the
/// expression for the row.
pub(crate) fn refuse(message: &str, bytes: &str, row: &str) -> String {
    format!(
        "(i32.store (i32.const {RESULT}) (i32.const 1))
         (i32.store offset=4 (i32.const {RESULT}) {message})
         (i32.store offset=8 (i32.const {RESULT}) {bytes})
         (i32.store offset=12 (i32.const {RESULT}) (i32.const 1))
         (i32.store offset=16 (i32.const {RESULT}) {row})
         (i32.store offset=20 (i32.const {RESULT}) (i32.const 0))
         (i32.const {RESULT})"
    )
}

/// A plugin that tells whatever it is given: it logs its configuration and each row, and quotes
/// both where a text begins with `!s` (a refused row) or `!t` (it stops). It returns the last
/// text that it sees as the column `seen`.
pub(crate) fn spy() -> Wat {
    let mut guest = Wat::transform();
    guest.takes("{}");
    let config = guest.put(&[0; 1024]);
    let config_bytes = guest.put(&[0; 8]);
    let digits_end = guest.put(&[0; 32]) + 32;
    let told = guest.put(&[0; 8192]);
    guest.imports = format!(
        "{LOG}
         (global $end (mut i32) (i32.const {told}))
         (global $mark (mut i32) (i32.const 0))
         (global $text (mut i32) (i32.const 0))
         (func $append (param $at i32) (param $bytes i32)
           (memory.copy (global.get $end) (local.get $at) (local.get $bytes))
           (global.set $end (i32.add (global.get $end) (local.get $bytes)))
           (i32.store8 (global.get $end) (i32.const 32))
           (global.set $end (i32.add (global.get $end) (i32.const 1))))
         (func $number (param $value i64)
           (local $at i32)
           (local.set $at (i32.const {digits_end}))
           (loop $digit
             (local.set $at (i32.sub (local.get $at) (i32.const 1)))
             (i32.store8 (local.get $at)
               (i32.add (i32.const 48) (i32.wrap_i64 (i64.rem_u (local.get $value) (i64.const 10)))))
             (local.set $value (i64.div_u (local.get $value) (i64.const 10)))
             (br_if $digit (i64.ne (local.get $value) (i64.const 0))))
           (call $append (local.get $at) (i32.sub (i32.const {digits_end}) (local.get $at))))
         (func $cell (param $array i32) (param $row i32)
           (local $buffers i32) (local $width i32) (local $at i32) (local $bytes i32)
           (local.set $buffers (i32.load offset=8 (local.get $array)))
           (if (i32.eq (i32.load offset=12 (local.get $array)) (i32.const 3))
             (then
               (local.set $at (i32.add (i32.load offset=8 (local.get $buffers))
                 (i32.shl (local.get $row) (i32.const 2))))
               (local.set $bytes
                 (i32.sub (i32.load offset=4 (local.get $at)) (i32.load (local.get $at))))
               (local.set $at
                 (i32.add (i32.load offset=16 (local.get $buffers)) (i32.load (local.get $at))))
               (global.set $text (local.get $array))
               (if (i32.and (i32.gt_u (local.get $bytes) (i32.const 1))
                     (i32.eq (i32.load8_u (local.get $at)) (i32.const 33)))
                 (then (global.set $mark (i32.load8_u offset=1 (local.get $at)))))
               (call $append (local.get $at) (local.get $bytes))
               (return)))
           (local.set $width
             (i32.div_u (i32.load offset=12 (local.get $buffers)) (i32.load (local.get $array))))
           (local.set $at (i32.add (i32.load offset=8 (local.get $buffers))
             (i32.mul (local.get $row) (local.get $width))))
           (if (i32.eq (local.get $width) (i32.const 4))
             (then (call $number (i64.load32_u (local.get $at)))))
           (if (i32.eq (local.get $width) (i32.const 8))
             (then (call $number (i64.load (local.get $at))))))
         (func $tell (param $level i32)
           (call $log (local.get $level) (i32.const {told})
             (i32.sub (global.get $end) (i32.const {told}))))"
    );
    guest.replace(
        "configure",
        format!(
            "(memory.copy (i32.const {config}) (local.get 0) (local.get 1))
             (i32.store (i32.const {config_bytes}) (local.get 1))
             (call $log (i32.const 2) (local.get 0) (local.get 1))
             {}",
            words(&[0, 0, 0, 0])
        ),
    );
    let (name, format) = (guest.put(b"seen"), guest.put(b"u"));
    let field = guest.put_words(&[name, 4, format, 1, 1]);
    guest.replace("bind", words(&[0, field, 1]));
    let said = refuse(
        &format!("(i32.const {told})"),
        &format!("(i32.sub (global.get $end) (i32.const {told}))"),
        "(local.get $row)",
    );
    guest.replace(
        "transform",
        format!(
            "(local $row i32) (local $column i32)
             (block $done (loop $rows
               (br_if $done (i32.ge_u (local.get $row) (local.get 5)))
               (global.set $end (i32.const {told}))
               (global.set $mark (i32.const 0))
               (call $append (i32.const {config}) (i32.load (i32.const {config_bytes})))
               (local.set $column (i32.const 0))
               (block $all (loop $columns
                 (br_if $all (i32.ge_u (local.get $column) (local.get 7)))
                 (call $cell
                   (i32.add (local.get 6) (i32.shl (local.get $column) (i32.const 4)))
                   (local.get $row))
                 (local.set $column (i32.add (local.get $column) (i32.const 1)))
                 (br $columns)))
               (call $tell (i32.const 2))
               (if (i32.eq (global.get $mark) (i32.const 115)) (then (return {said})))
               (if (i32.eq (global.get $mark) (i32.const 116))
                 (then (call $tell (i32.const 4)) (unreachable)))
               (local.set $row (i32.add (local.get $row) (i32.const 1)))
               (br $rows)))
             (i32.store (i32.const {RESULT}) (i32.const 0))
             (i32.store offset=4 (i32.const {RESULT}) (local.get 5))
             (i32.store offset=8 (i32.const {RESULT}) (global.get $text))
             (i32.store offset=12 (i32.const {RESULT}) (i32.const 1))
             (i32.store offset=16 (i32.const {RESULT}) (i32.const 0))
             (i32.const {RESULT})"
        ),
    );
    guest
}

/// Writes a plugin's file and its entry at the end of `syncset.yaml`, pinned; `settings` are more
/// lines of the entry, such as `config: {}`.
pub(crate) fn add_plugin(project: &Project, name: &str, bytes: &[u8], settings: &str) {
    write(project, name, bytes);
    let text = project.read("syncset.yaml");
    let head = match text.contains("\nplugins:\n") {
        true => "",
        false => "plugins:\n",
    };
    let entry = entry(name, Some(&sha256(bytes)), settings);
    project.file("syncset.yaml", &format!("{text}{head}{entry}"));
}

/// Writes a plugin's file.
pub(crate) fn write(project: &Project, name: &str, bytes: &[u8]) {
    let path = project.path().join(format!("{name}.wasm"));
    std::fs::write(path, bytes).expect("the folder can be written");
}

/// An entry of `plugins:`.
pub(crate) fn entry(name: &str, pin: Option<&str>, settings: &str) -> String {
    let pin = pin.map_or_else(String::new, |pin| format!("    sha256: \"{pin}\"\n"));
    let settings: String = settings
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    format!("  {name}:\n    path: {name}.wasm\n{pin}{settings}")
}

/// As `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
