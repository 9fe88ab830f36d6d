//! Invented values, chosen by a keyed hash.

use std::fmt::Write as _;
use syncset_connector::FakeKind;

const FIRST: [&str; 64] = [
    "Ada", "Aiko", "Alma", "Amir", "Ana", "Anton", "Arun", "Ava", "Bela", "Bruno", "Carla", "Chen",
    "Clara", "Dario", "Dina", "Elena", "Eli", "Emil", "Emma", "Enzo", "Eva", "Felix", "Finn",
    "Frida", "Grace", "Hana", "Hugo", "Ida", "Ines", "Ivan", "Jana", "Joel", "Jonas", "Kai",
    "Karin", "Lara", "Lea", "Leo", "Lina", "Luca", "Maja", "Marco", "Mia", "Milan", "Mina",
    "Nadia", "Nils", "Nora", "Olga", "Omar", "Otto", "Paula", "Pia", "Rafael", "Rosa", "Samir",
    "Sara", "Sofia", "Theo", "Tomas", "Vera", "Viktor", "Yara", "Zoe",
];

const LAST: [&str; 64] = [
    "Adler", "Almeida", "Andersen", "Bauer", "Becker", "Bianchi", "Brandt", "Castro", "Costa",
    "Dahl", "Diaz", "Dubois", "Eklund", "Ferrari", "Fischer", "Fuchs", "Garcia", "Gruber", "Haas",
    "Hansen", "Horvat", "Ito", "Jansen", "Kato", "Keller", "Khan", "Klein", "Kovac", "Kumar",
    "Lang", "Larsen", "Leroy", "Lopez", "Maier", "Marino", "Martin", "Mendes", "Meyer", "Moreau",
    "Mori", "Nagy", "Nilsen", "Novak", "Olsen", "Ortiz", "Patel", "Petit", "Popov", "Ramos",
    "Ricci", "Rossi", "Roth", "Santos", "Sato", "Schmid", "Silva", "Singh", "Sokol", "Suzuki",
    "Vogel", "Weber", "Winter", "Wolf", "Zeller",
];

const CITIES: [&str; 32] = [
    "Ashford",
    "Birchwood",
    "Brookfield",
    "Cedar Falls",
    "Clearwater",
    "Eastport",
    "Elmhurst",
    "Fairview",
    "Glenwood",
    "Greenfield",
    "Hillcrest",
    "Kingsport",
    "Lakeside",
    "Lindale",
    "Maplewood",
    "Meadowbrook",
    "Milford",
    "Newbridge",
    "Northfield",
    "Oakdale",
    "Pinehurst",
    "Redwood",
    "Riverside",
    "Rosedale",
    "Silverton",
    "Southgate",
    "Springdale",
    "Stonebridge",
    "Summerville",
    "Westbrook",
    "Willowdale",
    "Woodland",
];

/// Appends the value that belongs to a hash.
pub(super) fn push(kind: FakeKind, hash: &[u8; 32], text: &mut String) {
    let number = |from: usize| {
        let bytes = [hash[from], hash[from + 1], hash[from + 2], hash[from + 3]];
        u32::from_be_bytes(bytes)
    };
    let (first, last) = (pick(&FIRST, number(0)), pick(&LAST, number(4)));
    // Writing to a text has no error.
    let _infallible = match kind {
        FakeKind::FirstName => write!(text, "{first}"),
        FakeKind::LastName => write!(text, "{last}"),
        FakeKind::Name => write!(text, "{first} {last}"),
        FakeKind::City => write!(text, "{}", pick(&CITIES, number(8))),
        // Addresses are often unique, names never are.
        FakeKind::Email => write!(
            text,
            "{}.{}.{:08x}{:08x}@example.com",
            first.to_lowercase(),
            last.to_lowercase(),
            number(12),
            number(16)
        ),
        // The area code 555 belongs to nobody.
        FakeKind::Phone => write!(text, "+1555{:07}", number(20) % 10_000_000),
    };
}

fn pick<'a>(list: &[&'a str], number: u32) -> &'a str {
    let place = usize::try_from(number).unwrap_or(0) % list.len();
    list[place]
}
