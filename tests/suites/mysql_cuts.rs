//! Where first loads from MySQL and MariaDB cut large tables.

use crate::mysql_lab::FLAVOURS;
use crate::mysql_read_lab::Followed;
use syncset_connector::KeyRange;

/// More rows than are counted to find the cuts.
const DOUBLINGS: usize = 18;

#[tokio::test]
async fn chunks_of_a_large_table_are_even_whatever_its_numbers() {
    for flavour in FLAVOURS {
        let table = "CREATE TABLE t (id bigint PRIMARY KEY, updated_at timestamp NOT NULL
            DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP)";
        let table = Followed::new(flavour, table).await;
        let double = "INSERT INTO t (id) SELECT id + (SELECT MAX(id) FROM t) FROM t;";
        // One number far from all others: spans of equal width would be one chunk.
        let fill = format!(
            "INSERT INTO t (id) VALUES (1); {} INSERT INTO t (id) VALUES (-5), (9000000000000000000);
             ANALYZE TABLE t",
            double.repeat(DOUBLINGS)
        );
        table.database.execute(&fill).await;
        let size = "SELECT DATA_LENGTH DIV 16 FROM information_schema.TABLES
            WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 't'";
        let chunk_bytes = table.database.value(size).await;
        let chunk_bytes = chunk_bytes.parse().expect("a size is a number");

        let source = table.store.source().expect("MySQL can be read");
        let cuts = source.boundaries(&table.read, chunk_bytes).await;
        let cuts = cuts.expect("the table can be cut");

        assert!((8..=48).contains(&cuts.len()), "{flavour:?}: {cuts:?}");
        let mut sum = 0;
        for range in KeyRange::between(&cuts) {
            let above = range
                .after
                .map_or("TRUE".into(), |key| format!("id > {}", key.0[0]));
            let up_to = range
                .up_to
                .map_or("TRUE".into(), |key| format!("id <= {}", key.0[0]));
            let count = format!("SELECT COUNT(*) FROM t WHERE {above} AND {up_to}");
            let rows: u64 = table.database.value(&count).await.parse().expect("a count");
            assert!(
                rows < 100_000,
                "{flavour:?}: {rows} rows with {above} and {up_to}"
            );
            sum += rows;
        }
        assert_eq!(sum, (1 << DOUBLINGS) + 2, "{flavour:?}");
    }
}
