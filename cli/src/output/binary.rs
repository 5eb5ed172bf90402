//! Results as Parquet and Arrow IPC.

use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::writer::{FileWriter, StreamWriter};
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::error::CliError;
use crate::output::{Destination, Sink};

/// Bytes of encoded rows after which a row group is closed, so that memory stays bounded.
const ROW_GROUP_BYTES: usize = 128 << 20;

/// Writes a Parquet file, compressed with Snappy.
pub struct ParquetSink {
    writer: ArrowWriter<Destination>,
    name: String,
}

impl ParquetSink {
    /// A sink for a result of `schema`; fails for types that Parquet cannot hold.
    pub fn new(schema: SchemaRef, destination: Destination) -> Result<ParquetSink, CliError> {
        let name = destination.name().to_string();
        let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
        let writer = ArrowWriter::try_new(destination, schema, Some(properties))
            .map_err(|e| CliError::writing(&name, &e))?;
        Ok(ParquetSink { writer, name })
    }
}

impl Sink for ParquetSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        let result = self.writer.write(batch).and_then(|()| {
            if self.writer.in_progress_size() > ROW_GROUP_BYTES { self.writer.flush() } else { Ok(()) }
        });
        result.map_err(|e| CliError::writing(&self.name, &e))
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        let ParquetSink { writer, name } = *self;
        writer.into_inner().map_err(|e| CliError::writing(&name, &e))
    }
}

/// Arrow IPC: the file format where the reader can seek, the streaming format otherwise.
pub fn arrow_sink(schema: &Schema, destination: Destination) -> Result<Box<dyn Sink>, CliError> {
    let name = destination.name().to_string();
    let fail = |e: arrow::error::ArrowError| CliError::writing(&name, &e);
    if destination.is_file() {
        let writer = FileWriter::try_new(destination, schema).map_err(fail)?;
        Ok(Box::new(ArrowFileSink { writer, name }))
    } else {
        let writer = StreamWriter::try_new(destination, schema).map_err(fail)?;
        Ok(Box::new(ArrowStreamSink { writer, name }))
    }
}

struct ArrowFileSink {
    writer: FileWriter<Destination>,
    name: String,
}

impl Sink for ArrowFileSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.writer.write(batch).map_err(|e| CliError::writing(&self.name, &e))
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        let ArrowFileSink { writer, name } = *self;
        writer.into_inner().map_err(|e| CliError::writing(&name, &e))
    }
}

struct ArrowStreamSink {
    writer: StreamWriter<Destination>,
    name: String,
}

impl Sink for ArrowStreamSink {
    fn write(&mut self, batch: &RecordBatch) -> Result<(), CliError> {
        self.writer.write(batch).map_err(|e| CliError::writing(&self.name, &e))
    }

    fn finish(self: Box<Self>) -> Result<Destination, CliError> {
        let ArrowStreamSink { writer, name } = *self;
        writer.into_inner().map_err(|e| CliError::writing(&name, &e))
    }
}
