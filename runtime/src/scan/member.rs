//! Whether a key is one of a build side's: what a join tells the scan of its probe side beside the keys' bounds.
//!
//! Bounds leave out files, row groups and pages; this leaves out rows, where the reader filters them. It asks the
//! join's own table, which lies there anyhow, and never keeps it: where the table is gone, as after the query in a
//! plan that is kept, every row passes.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, PrimitiveArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use datafusion::common::{Result, ScalarValue, internal_err};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_plan::PhysicalExpr;
use fuseline_codegen::joins::JoinSide;
use fuseline_kernels::join::{IntKey, JoinTable};
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Weak};

/// `key IN (the build side's keys)`.
#[derive(Clone, Debug)]
pub struct KeyMember {
    key: Arc<dyn PhysicalExpr>,
    data_type: DataType,
    side: Weak<JoinSide>,
}

impl KeyMember {
    /// For keys of one integer, which are looked up as they are; of others nothing is said.
    pub fn of(key: &Arc<dyn PhysicalExpr>, data_type: &DataType, side: &Arc<JoinSide>) -> Option<KeyMember> {
        let known = matches!(
            data_type,
            DataType::Int8
                | DataType::Int16
                | DataType::Int32
                | DataType::Int64
                | DataType::UInt8
                | DataType::UInt16
                | DataType::UInt32
                | DataType::UInt64
                | DataType::Date32
        );
        (known && side.layout().integer().is_some()).then(|| KeyMember {
            key: Arc::clone(key),
            data_type: data_type.clone(),
            side: Arc::downgrade(side),
        })
    }

    fn members(&self, keys: &ArrayRef) -> Option<BooleanArray> {
        let side = self.side.upgrade().filter(|_| *keys.data_type() == self.data_type)?;
        let table = side.table();
        Some(match &self.data_type {
            DataType::Int8 => found(table, keys.as_primitive::<Int8Type>()),
            DataType::Int16 => found(table, keys.as_primitive::<Int16Type>()),
            DataType::Int32 => found(table, keys.as_primitive::<Int32Type>()),
            DataType::Int64 => found(table, keys.as_primitive::<Int64Type>()),
            DataType::UInt8 => found(table, keys.as_primitive::<UInt8Type>()),
            DataType::UInt16 => found(table, keys.as_primitive::<UInt16Type>()),
            DataType::UInt32 => found(table, keys.as_primitive::<UInt32Type>()),
            DataType::UInt64 => found(table, keys.as_primitive::<UInt64Type>()),
            DataType::Date32 => found(table, keys.as_primitive::<Date32Type>()),
            _other => return None,
        })
    }
}

fn found<T: ArrowPrimitiveType>(table: &JoinTable, keys: &PrimitiveArray<T>) -> BooleanArray
where
    T::Native: IntKey,
{
    let values = keys.values();
    let bits = match keys.nulls() {
        None => {
            BooleanBuffer::collect_bool(values.len(), |i| table.find_int(Some(values[i].word())).is_some())
        }
        Some(nulls) => BooleanBuffer::collect_bool(values.len(), |i| {
            table.find_int(nulls.is_valid(i).then(|| values[i].word())).is_some()
        }),
    };
    BooleanArray::new(bits, None)
}

impl fmt::Display for KeyMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} IN (keys of the build side)", self.key)
    }
}

impl PartialEq for KeyMember {
    fn eq(&self, other: &KeyMember) -> bool {
        self.key.eq(&other.key) && Weak::ptr_eq(&self.side, &other.side)
    }
}

impl Eq for KeyMember {}

impl Hash for KeyMember {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key.hash(state);
        (self.side.as_ptr() as usize).hash(state);
    }
}

impl PhysicalExpr for KeyMember {
    fn data_type(&self, _schema: &Schema) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn nullable(&self, _schema: &Schema) -> Result<bool> {
        Ok(false)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let keys = self.key.evaluate(batch)?.into_array(batch.num_rows())?;
        Ok(match self.members(&keys) {
            Some(members) => ColumnarValue::Array(Arc::new(members)),
            None => ColumnarValue::Scalar(ScalarValue::Boolean(Some(true))),
        })
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.key]
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        match <[_; 1]>::try_from(children) {
            Ok([key]) => Ok(Arc::new(KeyMember { key, ..KeyMember::clone(&self) })),
            Err(_) => internal_err!("a test of a key has one child"),
        }
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    // Neither its value over constants nor anything else is known while the table is being built.
    fn is_volatile_node(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use datafusion::physical_expr::expressions::Column;
    use fuseline_codegen::ir::Ty;
    use fuseline_codegen::joins::JoinLayout;

    fn side(keys: Vec<Option<i64>>, null_equal: bool) -> Arc<JoinSide> {
        let keys: ArrayRef = Arc::new(Int64Array::from(keys));
        let layout = JoinLayout::of(&[Ty::I64], null_equal);
        Arc::new(JoinSide::build(vec![keys], layout, vec![], 1).unwrap())
    }

    fn asked(member: &KeyMember, keys: Vec<Option<i64>>) -> Vec<bool> {
        let batch = RecordBatch::try_from_iter_with_nullable([(
            "k",
            Arc::new(Int64Array::from(keys)) as ArrayRef,
            true,
        )])
        .unwrap();
        let answer = member.evaluate(&batch).unwrap().into_array(batch.num_rows()).unwrap();
        answer.as_boolean().iter().map(|b| b.unwrap()).collect()
    }

    #[test]
    fn it_knows_the_keys_while_the_table_is_there() {
        let column: Arc<dyn PhysicalExpr> = Arc::new(Column::new("k", 0));
        // In an array, and in slots.
        for far in [7, i64::MAX - 3] {
            for null_equal in [false, true] {
                let side = side(vec![Some(-5), Some(far), None, Some(far)], null_equal);
                let member = KeyMember::of(&column, &DataType::Int64, &side).unwrap();
                let keys = vec![Some(-5), Some(0), None, Some(far), Some(i64::MIN), Some(far + 1)];
                assert_eq!(asked(&member, keys.clone()), [true, false, null_equal, true, false, false]);
                drop(side);
                assert_eq!(asked(&member, keys), [true; 6]);
            }
        }
    }
}
