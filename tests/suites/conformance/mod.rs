//! The claims that every connector keeps, each written once: over every ordered pair of engines by
//! the binary, over every target by the binary and by the contract.
//!
//! Nothing here names an engine. What differs between them is said by `kit::Engine`; what an
//! engine cannot have stands in [`exceptions`].

/// Makes a test of each claim for each ordered pair of engines; a claim takes a
/// `pair::Pair`.
macro_rules! for_every_pair {
    ($($claim:ident),+ $(,)?) => {
        kit::with_engines!(from_each!($($claim),+));
    };
}

/// The modules of each source.
macro_rules! from_each {
    ($engines:tt $($claim:ident),+) => {
        to_each!($engines $engines [$($claim),+]);
    };
}

/// The modules of each target in those of each source.
macro_rules! to_each {
    ([$(($engine:ident, $about:ident, $from:ident, $to:ident)),+] $engines:tt $claims:tt) => {
        $(
            mod $from {
                pair_tests!($engine $engines $claims);
            }
        )+
    };
}

/// The tests of one source and each target.
macro_rules! pair_tests {
    ($source:ident [$(($engine:ident, $about:ident, $from:ident, $to:ident)),+] $claims:tt) => {
        $(
            mod $to {
                claims_of_pair!($source $engine $claims);
            }
        )+
    };
}

/// The tests of one pair.
macro_rules! claims_of_pair {
    ($source:ident $target:ident [$($claim:ident),+]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                let pair = crate::conformance::pair::Pair::new(
                    kit::Engine::$source,
                    kit::Engine::$target,
                );
                super::super::$claim(pair.await).await;
            }
        )+
    };
}

/// Makes a test of each claim for each engine; a claim takes a `kit::Engine`.
macro_rules! for_every_engine {
    ($($claim:ident),+ $(,)?) => {
        kit::with_engines!(about_each!($($claim),+));
    };
}

/// The modules of each engine.
macro_rules! about_each {
    ([$(($engine:ident, $about:ident, $from:ident, $to:ident)),+] $($claim:ident),+) => {
        about_each!(@ [$($engine $about),+] [$($claim),+]);
    };
    (@ [$($engine:ident $about:ident),+] $claims:tt) => {
        $(
            mod $about {
                claims_of_engine!($engine $claims);
            }
        )+
    };
}

/// The tests of one engine.
macro_rules! claims_of_engine {
    ($engine:ident [$($claim:ident),+]) => {
        $(
            #[tokio::test]
            async fn $claim() {
                super::$claim(kit::Engine::$engine).await;
            }
        )+
    };
}

mod bags;
mod check_flags;
mod check_tables;
mod checks;
mod compared;
pub(crate) mod exceptions;
mod hashes;
mod leases;
mod loads;
pub(crate) mod pair;
mod random_drift;
mod refusals;
mod repairs;
mod state;
mod store_lab;
mod units;
mod values;
mod verbs;
mod windows;
pub(crate) mod write_lab;
mod writes;
