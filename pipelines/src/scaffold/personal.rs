//! Which columns are likely to hold what people want to keep to themselves, by name and type.
//!
//! A guess that a person confirms: it decides nothing but what is pointed out, and which columns
//! that look like secrets are left out until somebody asks for them.

use arrow_schema::DataType;
use serde::Serialize;
use syncset_connector::Column;

/// What a column seems to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sensitivity {
    /// Something that opens doors: a password, a token, a key.
    Secret,
    /// Something about a person.
    Personal,
}

/// Which types a word says something about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    /// Texts, bytes and documents.
    Texts,
    /// Those, and numbers unless they count or refer to something.
    Numbers,
    /// Those, and dates.
    Dates,
}

/// Words of secrets. Those of up to four letters have to stand alone.
const SECRETS: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "pwd",
    "pass",
    "passwort",
    "kennwort",
    "contrasena",
    "motdepasse",
    "mdp",
    "senha",
    "wachtwoord",
    "haslo",
    "losenord",
    "parola",
    "secret",
    "token",
    "apikey",
    "privatekey",
    "accesskey",
    "credential",
    "otp",
    "totp",
    "salt",
    "pin",
    "cvv",
    "cvc",
];

/// Words of personal data in English, German, French, Spanish, Italian, Portuguese and Dutch.
const PERSONAL: &[(Types, &[&str])] = &[
    (
        Types::Texts,
        &[
            "mail",
            "email",
            "courriel",
            "correo",
            "username",
            "login",
            "firstname",
            "lastname",
            "fullname",
            "middlename",
            "givenname",
            "familyname",
            "surname",
            "maidenname",
            "nickname",
            "vorname",
            "nachname",
            "prenom",
            "apellido",
            "cognome",
            "sobrenome",
            "voornaam",
            "achternaam",
            "address",
            "addr",
            "adresse",
            "street",
            "strasse",
            "rue",
            "direccion",
            "calle",
            "indirizzo",
            "endereco",
            "adres",
            "straat",
            "ip",
            "ipaddress",
            "useragent",
            "cookie",
            "gender",
            "sex",
            "geschlecht",
            "sexe",
            "sexo",
            "geslacht",
            "religion",
            "ethnicity",
            "nationality",
            "citizenship",
            "marital",
            "diagnosis",
            "disability",
            "avatar",
            "photo",
            "signature",
            "fingerprint",
        ],
    ),
    (
        Types::Numbers,
        &[
            "phone",
            "telefon",
            "tel",
            "mobile",
            "handynummer",
            "cellphone",
            "movil",
            "celular",
            "fax",
            "ssn",
            "socialsecurity",
            "sozialversicherung",
            "svnr",
            "dni",
            "nif",
            "cpf",
            "bsn",
            "pesel",
            "passport",
            "reisepass",
            "iban",
            "bankaccount",
            "accountnumber",
            "kontonummer",
            "creditcard",
            "cardnumber",
            "kreditkarte",
            "taxid",
            "steuernummer",
            "steuerid",
            "zip",
            "zipcode",
            "postal",
            "postcode",
            "plz",
            "latitude",
            "longitude",
            "salary",
            "gehalt",
            "income",
            "lohn",
        ],
    ),
    (
        Types::Dates,
        &[
            "birth",
            "birthday",
            "dob",
            "geburt",
            "naissance",
            "nacimiento",
            "nascita",
            "geboorte",
        ],
    ),
];

/// Words of tables whose rows are people, so that a plain `name` is one of theirs.
const PEOPLE: &[&str] = &[
    "customer",
    "user",
    "person",
    "people",
    "employee",
    "member",
    "patient",
    "contact",
    "client",
    "subscriber",
    "student",
    "teacher",
    "author",
    "guest",
    "lead",
    "kunde",
    "mitarbeiter",
    "benutzer",
    "personne",
    "cliente",
    "empleado",
    "utente",
    "klant",
    "staff",
];

/// What `name` is in other languages.
const NAMES: &[&str] = &["name", "nom", "nombre", "nome", "naam"];

/// Last words of columns that count, refer or describe, and hold nothing of a person themselves.
const ABOUT: &[&str] = &[
    "id", "ids", "count", "type", "status", "version", "length", "size",
];

/// Longest word that has to stand alone: `ip` is a part of `description`.
const SHORT_WORD_MAX: usize = 4;

/// What a column of a table seems to hold; `None`: nothing of that kind.
pub fn sensitivity(table: &str, column: &Column) -> Option<Sensitivity> {
    let words = words(&column.name);
    let native = column.native.name.as_str();
    if matches!(native, "inet" | "cidr" | "macaddr" | "macaddr8") {
        return Some(Sensitivity::Personal);
    }
    if is_text(&column.data_type) && has_word(&words, SECRETS) {
        return Some(Sensitivity::Secret);
    }
    let is_about = words
        .last()
        .is_some_and(|last| ABOUT.contains(&last.as_str()));
    let fits = |types: Types| match &column.data_type {
        DataType::Boolean => false,
        data_type if is_text(data_type) => true,
        data_type if data_type.is_numeric() => types != Types::Texts && !is_about,
        data_type if data_type.is_temporal() => types == Types::Dates,
        _ => false,
    };
    let is_personal = PERSONAL
        .iter()
        .any(|(types, known)| fits(*types) && has_word(&words, known))
        || fits(Types::Texts) && is_name_of_person(table, &words);
    is_personal.then_some(Sensitivity::Personal)
}

fn is_text(data_type: &DataType) -> bool {
    data_type.is_string() || data_type.is_binary()
}

fn is_name_of_person(table: &str, column: &[String]) -> bool {
    let [name] = column else { return false };
    NAMES.contains(&name.as_str()) && has_word(&self::words(table), PEOPLE)
}

/// Whether a known word is one of these, or, if it is long enough, a part of them joined.
fn has_word(words: &[String], known: &[&str]) -> bool {
    let joined = words.concat();
    known.iter().any(|known| {
        if known.len() <= SHORT_WORD_MAX {
            words.iter().any(|word| word == known)
        } else {
            joined.contains(known)
        }
    })
}

/// The words of a name in lower case, without accents: `lastName`, `LAST_NAME` and `last name` are
/// all `last`, `name`.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut after_lower = false;
    for character in name.chars() {
        let starts_word = character.is_uppercase() && after_lower;
        if (starts_word || !character.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        if character.is_alphanumeric() {
            for lower in character.to_lowercase() {
                push_plain(lower, &mut word);
            }
        }
        after_lower = character.is_lowercase();
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

fn push_plain(character: char, word: &mut String) {
    match character {
        'ä' => word.push_str("ae"),
        'ö' => word.push_str("oe"),
        'ü' => word.push_str("ue"),
        'ß' => word.push_str("ss"),
        'á' | 'à' | 'â' | 'ã' | 'å' => word.push('a'),
        'é' | 'è' | 'ê' | 'ë' => word.push('e'),
        'í' | 'ì' | 'î' | 'ï' => word.push('i'),
        'ó' | 'ò' | 'ô' | 'õ' => word.push('o'),
        'ú' | 'ù' | 'û' => word.push('u'),
        'ç' => word.push('c'),
        'ñ' => word.push('n'),
        'ł' => word.push('l'),
        other => word.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_schema::TimeUnit;
    use syncset_connector::NativeType;

    fn column(name: &str, data_type: DataType) -> Column {
        Column {
            name: name.into(),
            data_type,
            native: NativeType {
                engine: "postgres".into(),
                name: "text".into(),
                as_text: false,
                definition: None,
            },
            nullable: true,
            default: None,
            generated: None,
            stable_id: None,
            readable: true,
        }
    }

    #[test]
    fn names_in_many_spellings_and_languages_are_told() {
        let secret = Some(Sensitivity::Secret);
        let personal = Some(Sensitivity::Personal);
        let instant = DataType::Timestamp(TimeUnit::Microsecond, None);
        for (table, name, data_type, expected) in [
            ("t", "password_hash", DataType::Utf8, secret),
            ("t", "apiKey", DataType::Utf8, secret),
            ("t", "API_KEY", DataType::Utf8, secret),
            ("t", "refresh_token", DataType::Utf8, secret),
            ("t", "contraseña", DataType::Utf8, secret),
            ("t", "token_count", DataType::Int64, None),
            ("t", "password_changed_at", instant.clone(), None),
            ("t", "compass", DataType::Utf8, None),
            ("t", "e_mail", DataType::Utf8, personal),
            ("t", "billing_address", DataType::Utf8, personal),
            ("t", "address_id", DataType::Int64, None),
            ("t", "Straße", DataType::Utf8, personal),
            ("t", "Prénom", DataType::Utf8, personal),
            ("t", "geburtsdatum", DataType::Date32, personal),
            ("t", "phone", DataType::Int64, personal),
            ("t", "phone_verified", DataType::Boolean, None),
            ("t", "description", DataType::Utf8, None),
            ("t", "last_ip", DataType::Utf8, personal),
            ("t", "created_at", instant, None),
            ("products", "name", DataType::Utf8, None),
            ("crm_customers", "name", DataType::Utf8, personal),
        ] {
            let told = sensitivity(table, &column(name, data_type));
            assert_eq!(told, expected, "{table}.{name}");
        }
    }

    #[test]
    fn addresses_of_machines_are_told_by_their_type() {
        let mut inet = column("origin", DataType::Utf8);
        inet.native.name = "inet".into();

        assert_eq!(sensitivity("log", &inet), Some(Sensitivity::Personal));
    }
}
