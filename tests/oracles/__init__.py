"""Independent ways to the library's answers: rational enumeration, quadratic programs, long doubles."""
