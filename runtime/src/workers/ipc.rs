//! The socket transport: each batch is an Arrow IPC stream in the body of a frame, as other engines
//! send it. Kept as the reference that the shared-memory transport is measured against.

use super::layout::plain;
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::buffer::Buffer;
use arrow::compute::{cast, concat};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use std::sync::Arc;

/// The message with a function's types: its parameters, and last what it returns.
pub fn schema(params: &[(String, DataType)], returns: &DataType) -> Result<Vec<u8>, ArrowError> {
    let mut fields: Vec<Field> =
        params.iter().map(|(name, data_type)| Field::new(name, plain(data_type), true)).collect();
    fields.push(Field::new("returns", plain(returns), true));
    let mut bytes = Vec::new();
    StreamWriter::try_new(&mut bytes, &Schema::new(fields))?.finish()?;
    Ok(bytes)
}

/// The type that a message with a schema tells of: that of its first field.
pub fn type_of(message: &[u8]) -> Option<DataType> {
    let mut decoder = StreamDecoder::new();
    let mut bytes = Buffer::from_slice_ref(message);
    // A schema alone ends in the middle of a stream, which is no error before `finish`.
    decoder.decode(&mut bytes).ok()?;
    Some(decoder.schema()?.fields().first()?.data_type().clone())
}

/// A stream of one batch.
pub fn encode(columns: &[ArrayRef], rows: usize) -> Result<Vec<u8>, ArrowError> {
    let columns =
        columns.iter().map(|c| cast(c, &plain(c.data_type()))).collect::<Result<Vec<_>, ArrowError>>()?;
    let fields: Vec<Field> = columns
        .iter()
        .enumerate()
        .map(|(i, column)| Field::new(i.to_string(), column.data_type().clone(), true))
        .collect();
    let schema = Arc::new(Schema::new(fields));
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let batch = RecordBatch::try_new_with_options(schema, columns, &options)?;
    let size = batch.get_array_memory_size();
    let mut writer = StreamWriter::try_new(Vec::with_capacity(size + 1024), batch.schema_ref())?;
    writer.write(&batch)?;
    writer.into_inner()
}

/// The only column of a stream.
pub fn decode(bytes: Vec<u8>) -> Result<ArrayRef, ArrowError> {
    let mut bytes = Buffer::from_vec(bytes);
    let mut decoder = StreamDecoder::new();
    let mut columns: Vec<ArrayRef> = Vec::new();
    while let Some(batch) = decoder.decode(&mut bytes)? {
        let column = batch
            .columns()
            .first()
            .ok_or_else(|| ArrowError::InvalidArgumentError("its answer has no column".to_owned()))?;
        columns.push(Arc::clone(column));
    }
    decoder.finish()?;
    match columns.as_slice() {
        [] => Ok(new_empty_array(&DataType::Null)),
        [one] => Ok(Arc::clone(one)),
        many => concat(&many.iter().map(|c| c.as_ref()).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Array, Int64Array, StringViewArray};

    #[test]
    fn a_column_survives() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        let bytes = encode(&[Arc::clone(&column)], 3).unwrap();
        assert_eq!(&decode(bytes).unwrap(), &column);
        let part = column.slice(1, 2);
        assert_eq!(&decode(encode(&[Arc::clone(&part)], 2).unwrap()).unwrap(), &part);
        let text: ArrayRef = Arc::new(StringViewArray::from_iter_values(["a", "a text beyond a view"]));
        assert_eq!(decode(encode(&[text], 2).unwrap()).unwrap().data_type(), &DataType::Utf8);
        assert!(decode(vec![7; 100]).is_err());
        assert!(encode(&[], 5).is_ok());
    }
}
