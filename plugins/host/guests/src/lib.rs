//! Guests written for one test: the contract by hand, in the text form of WASM. Used by tests only.

use std::fmt::Write;

/// Where the data of a guest begins; results are written below.
const DATA_START: usize = 4096;

/// Where functions of the contract write what they return.
pub const RESULT: usize = 64;

/// A guest under construction.
pub struct Wat {
    data: Vec<u8>,
    functions: Vec<(String, Vec<&'static str>, String)>,
    provides: u8,
    /// Address and length of the JSON Schema of the configuration.
    schema: (usize, usize),
    /// Address and number of the descriptions of functions.
    described: (usize, usize),
    /// Imports and functions of the module, which come before everything else.
    pub imports: String,
}

/// The import that [`Wat::imports`] begins with if a guest says something: `$log`, with a level, an
/// address and a length.
pub const LOG: &str =
    "(import \"syncset:plugin/host@0.1.0\" \"log\" (func $log (param i32 i32 i32)))";

/// A body that returns the record at [`RESULT`] after these 32-bit words were written there.
pub fn words(values: &[usize]) -> String {
    let mut body = String::new();
    for (index, value) in values.iter().enumerate() {
        let address = RESULT + index * 4;
        let _ = write!(
            body,
            "(i32.store (i32.const {address}) (i32.const {value}))"
        );
    }
    body + &format!("(i32.const {RESULT})")
}

/// Parameters of `transform`: after the context come the rows and the arrays.
pub const ROWS: usize = 5;

/// `transform` that returns what it was given.
pub fn identity() -> String {
    format!(
        "(i32.store (i32.const {RESULT}) (i32.const 0))
         (i32.store offset=4 (i32.const {RESULT}) (local.get {ROWS}))
         (i32.store offset=8 (i32.const {RESULT}) (local.get {arrays}))
         (i32.store offset=12 (i32.const {RESULT}) (local.get {count}))
         (i32.store offset=16 (i32.const {RESULT}) (i32.const 0))
         (i32.const {RESULT})",
        arrays = ROWS + 1,
        count = ROWS + 2,
    )
}

/// `bind` that promises what it is given.
pub fn same_columns() -> String {
    format!(
        "(i32.store (i32.const {RESULT}) (i32.const 0))
         (i32.store offset=4 (i32.const {RESULT}) (local.get 0))
         (i32.store offset=8 (i32.const {RESULT}) (local.get 1))
         (i32.const {RESULT})"
    )
}

impl Wat {
    /// A transform that reads all columns and returns them as they are.
    pub fn transform() -> Self {
        let mut guest = Self::plugin(1);
        guest.set("plugin", "bind", &["i32", "i32"], same_columns());
        let params = ["i32", "i32", "i32", "i32", "i64", "i32", "i32", "i32"];
        guest.set("transform", "transform", &params, identity());
        guest
    }

    /// A filter that keeps no row.
    pub fn filter() -> Self {
        let mut guest = Self::plugin(2);
        let zeros = guest.put(&[0; 8192]);
        guest.set("plugin", "bind", &["i32", "i32"], same_columns());
        let params = ["i32", "i32", "i32", "i32", "i64", "i32", "i32", "i32"];
        guest.set("filter", "keep", &params, words(&[0, zeros, 8192]));
        guest
    }

    /// A function `same(bigint) -> bigint`; `body` computes its result record.
    pub fn scalar(strict: bool, body: String) -> Self {
        Self::scalar_of(b"l", strict, body)
    }

    /// The same of another type, whose format has one letter.
    pub fn scalar_of(format: &[u8; 1], strict: bool, body: String) -> Self {
        let mut guest = Self::plugin(4);
        let (name, format) = (guest.put(b"same"), guest.put(format));
        let mut args = Vec::new();
        args.extend(word(format));
        args.extend(word(1));
        let args = guest.put(&args);
        let mut function = Vec::new();
        for value in [name, 4, args, 1, format, 1] {
            function.extend(word(value));
        }
        function.extend([0, u8::from(strict), 0, 0]);
        function.extend(word(name));
        function.extend(word(4));
        let functions = guest.put(&function);
        guest.described = (functions, 1);
        guest.describe();
        guest.set("plugin", "bind", &["i32", "i32"], same_columns());
        guest.set("scalar", "call", &["i32", "i32", "i32", "i32", "i32"], body);
        guest
    }

    fn plugin(provides: u8) -> Self {
        let mut guest = Self {
            data: Vec::new(),
            functions: Vec::new(),
            provides,
            schema: (0, 0),
            described: (0, 0),
            imports: String::new(),
        };
        guest.describe();
        // Reads all columns.
        guest.set("plugin", "configure", &["i32", "i32"], words(&[0, 0, 0, 0]));
        guest
    }

    /// Takes a configuration, as this JSON Schema wants it.
    pub fn takes(&mut self, schema: &str) {
        self.schema = (self.put(schema.as_bytes()), schema.len());
        self.describe();
    }

    fn describe(&mut self) {
        let text = self.put(b"by hand");
        let (schema, functions) = (self.schema, self.described);
        let mut record = [text, 7].repeat(4);
        record.extend([usize::from(self.provides), schema.0, schema.1]);
        record.extend([functions.0, functions.1]);
        self.set("plugin", "describe", &[], words(&record));
    }

    /// Puts bytes into memory and says where.
    pub fn put(&mut self, bytes: &[u8]) -> usize {
        while !self.data.len().is_multiple_of(8) {
            self.data.push(0);
        }
        let at = DATA_START + self.data.len();
        self.data.extend(bytes);
        at
    }

    /// Puts 32-bit words into memory and says where.
    pub fn put_words(&mut self, values: &[usize]) -> usize {
        let bytes: Vec<u8> = values.iter().flat_map(|value| word(*value)).collect();
        self.put(&bytes)
    }

    /// Replaces the body of a function of an interface, or adds it.
    pub fn set(&mut self, interface: &str, name: &str, params: &[&'static str], body: String) {
        let name = format!("syncset:plugin/{interface}@0.1.0#{name}");
        self.functions.retain(|(other, ..)| *other != name);
        self.functions.push((name, params.to_vec(), body));
    }

    /// Replaces the body of a function that is there.
    pub fn replace(&mut self, name: &str, body: String) {
        let end = format!("#{name}");
        let function = self.functions.iter_mut().find(|it| it.0.ends_with(&end));
        function.expect("the guest has the function").2 = body;
    }

    /// The core module, as text.
    pub fn text(&self) -> String {
        let mut text = format!("(module {}\n", self.imports);
        let pages = 64;
        let end = (DATA_START + self.data.len()).next_multiple_of(16);
        let _ = writeln!(text, "(memory (export \"memory\") {pages})");
        let _ = writeln!(text, "(global $next (mut i32) (i32.const {end}))");
        // Memory is never freed but begins again with each call, so that calls can be repeated.
        let _ = writeln!(
            text,
            "(func (export \"cabi_realloc\") (param i32 i32 i32 i32) (result i32)
               (local $at i32)
               (local.set $at (i32.and (i32.add (global.get $next) (i32.const 15)) (i32.const -16)))
               (global.set $next (i32.add (local.get $at) (local.get 3)))
               (block $fits
                 (br_if $fits (i32.le_u (global.get $next) (i32.shl (memory.size) (i32.const 16))))
                 (drop (memory.grow (i32.add (i32.const 1) (i32.shr_u (local.get 3) (i32.const 16))))))
               (local.get $at))"
        );
        for (name, params, body) in &self.functions {
            let params = params.join(" ");
            let short = name.rsplit('#').next().unwrap_or_default();
            let _ = writeln!(
                text,
                "(func ${short} (export \"{name}\") (param {params}) (result i32) {body})
                 (func (export \"cabi_post_{name}\") (param i32) (global.set $next (i32.const {end})))"
            );
        }
        let data: String = self
            .data
            .iter()
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        let _ = writeln!(text, "(data (i32.const {DATA_START}) \"{data}\"))");
        text
    }
}

fn word(value: usize) -> [u8; 4] {
    u32::try_from(value)
        .expect("guests are small")
        .to_le_bytes()
}
