//! The examples that users start from, run as the README says.

use kit::{Output, Project, compare};

const SETTINGS: &str = include_str!("../../pipelines/examples/shop/syncset.yaml");
const SETUP: &str = include_str!("../../pipelines/examples/shop/setup.sql");
const DAY_TWO_SQL: &str = include_str!("../../pipelines/examples/shop/day_two.sql");
const REPLICA: &str = include_str!("../../pipelines/examples/shop/pipelines/shop_replica.yaml");
const DAY_TWO: &str = include_str!("../../pipelines/examples/shop/pipelines/day_two.yaml");

/// What the replica must hold, asked of the shop, and what it holds.
const QUERIES: [(&str, &str); 5] = [
    (
        "SELECT id, name, country, city, newsletter, datetime(created_at), datetime(updated_at), \
         substr(name, 1, 1) FROM customers \
         WHERE country IN ('AT', 'BE', 'DE', 'ES', 'FR', 'IT', 'NL')",
        "SELECT id, full_name, country, city, newsletter, datetime(created_at), \
         datetime(updated_at), initial FROM customers",
    ),
    (
        "SELECT id, sku, title, category, price, stock, datetime(updated_at), \
         round((price - purchase_price) * 100 / price, 1) FROM products",
        "SELECT id, sku, title, category, price, stock, datetime(updated_at), \
         round(margin_percent, 1) FROM products",
    ),
    (
        "SELECT id, customer_id, status, ordered_on, total, datetime(updated_at) FROM orders \
         WHERE status IN ('paid', 'shipped', 'delivered', 'returned')",
        "SELECT id, customer_id, status, ordered_on, total, datetime(updated_at) FROM orders",
    ),
    (
        "SELECT id, order_id, product_id, quantity, unit_price FROM order_items",
        "SELECT id, order_id, product_id, quantity, unit_price FROM order_items",
    ),
    (
        "SELECT code, name, vat_percent FROM countries",
        "SELECT code, name, vat_percent FROM countries",
    ),
];

fn shop() -> Project {
    let project = Project::new(SETTINGS);
    project
        .file("setup.sql", SETUP)
        .file("day_two.sql", DAY_TWO_SQL)
        .pipeline("shop_replica", REPLICA)
        .pipeline("day_two", DAY_TWO);
    project
}

async fn run(project: &Project, pipeline: &str) -> Output {
    project
        .syncset(["pipeline", "run", pipeline, "--output", "json"])
        .await
        .expect_success()
}

/// Rows written and deleted, by table.
fn changes(output: &Output) -> Vec<(String, u64, u64)> {
    let report = output.json();
    let tables = report["tables"].as_array().expect("a report has tables");
    tables
        .iter()
        .map(|table| {
            let count = |key: &str| table[key].as_u64().expect("a count");
            let name = table["table"].as_str().expect("a name").to_owned();
            (name, count("rows_written"), count("rows_deleted"))
        })
        .collect()
}

async fn assert_replica_is_right(project: &Project) {
    let (shop, replica) = (project.sqlite("shop.db"), project.sqlite("replica.db"));
    for (wanted, found) in QUERIES {
        compare(&shop, &replica, wanted, found).await.assert_equal();
    }
}

#[tokio::test]
async fn shop_syncs_at_first_and_then_only_what_changed() {
    let project = shop();

    let first = run(&project, "shop_replica").await;
    assert_replica_is_right(&project).await;
    let idle = run(&project, "shop_replica").await;
    run(&project, "day_two").await;
    let second = run(&project, "shop_replica").await;

    assert_replica_is_right(&project).await;
    let written: u64 = changes(&first).iter().map(|(_, written, _)| written).sum();
    assert!(written > 30_000, "{written}");
    assert!(
        changes(&idle)
            .iter()
            .all(|(_, written, deleted)| written + deleted == 0)
    );
    let change = |table: &str| {
        let all = changes(&second);
        let found = all.into_iter().find(|(name, ..)| name == table);
        found.map(|(_, written, deleted)| (written, deleted))
    };
    // One customer moves within the selection, one out of it.
    assert_eq!(change("customers"), Some((1, 1)));
    assert_eq!(change("products"), Some((3, 0)));
    assert_eq!(change("orders"), Some((88, 0)));
    assert_eq!(change("order_items"), Some((60, 0)));
    assert_eq!(change("countries"), Some((0, 0)));
}
