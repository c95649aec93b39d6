cpdef tuple import_array(producer, str name)
