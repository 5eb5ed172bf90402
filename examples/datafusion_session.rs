//! Fusion in a DataFusion session of your own: `cargo run --release --example datafusion_session`.
//!
//! One call, `fuseline::fuse`, on the `SessionStateBuilder`; the rest of the program is DataFusion's.

use fuseline::datafusion::execution::SessionStateBuilder;
use fuseline::datafusion::prelude::{SessionConfig, SessionContext};

#[tokio::main]
async fn main() -> fuseline::datafusion::error::Result<()> {
    let builder = SessionStateBuilder::new()
        .with_config(SessionConfig::new().with_target_partitions(2))
        .with_default_features();
    let state = fuseline::fuse(builder).build();
    let context = SessionContext::new_with_state(state);

    context.sql("SET fuseline.fusion = 'force'").await?.collect().await?;
    let query = "SELECT count(*) AS n, sum(value) AS total FROM range(0, 1000000) WHERE value % 3 = 0";
    context.sql(query).await?.show().await?;
    context.sql(&format!("EXPLAIN {query}")).await?.show().await
}
