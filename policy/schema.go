package policy

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
)

// Schema is a JSON Schema (draft 2020-12) of the policy file, for editors that
// complete and check keys. It accepts every policy that Load accepts; Load
// refuses more, since a schema cannot compare values.
func Schema() []byte {
	s := schemaOf(reflect.ValueOf(Default()).Elem(), field{})
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "Ringwall policy"
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic("policy: schema: " + err.Error()) // it holds only maps, texts and numbers
	}
	return append(b, '\n')
}

type object = map[string]any

// schemaOf describes the type of v. The value itself is the default.
func schemaOf(v reflect.Value, f field) object {
	s := object{}
	switch t := v.Type(); {
	case isScalar(t):
		s = scalarSchema(v, f)
	case t.Kind() == reflect.Struct:
		properties, required := object{}, []string{}
		for _, f := range fields(t) {
			properties[f.key] = schemaOf(v.Field(f.index), f)
			if f.required {
				required = append(required, f.key)
			}
		}
		s["type"], s["properties"], s["additionalProperties"] = "object", properties, false
		if len(required) > 0 {
			s["required"] = required
		}
	case t.Kind() == reflect.Map:
		s["type"] = []string{"object", "null"}
		s["additionalProperties"] = schemaOf(reflect.Zero(t.Elem()), field{})
		properties := object{}
		for _, key := range sortedKeys(v) { // their defaults stand in for what is missing
			p := schemaOf(v.MapIndex(reflect.ValueOf(key)), field{})
			delete(p, "required")
			p["type"] = []string{"object", "null"}
			properties[key] = p
		}
		if len(properties) > 0 {
			s["properties"] = properties
		}
	case isLeaf(t):
		s["type"], s["items"], s["uniqueItems"] = "array", schemaOf(reflect.Zero(t.Elem()), field{oneOf: f.oneOf}), true
		if f.required {
			s["minItems"] = 1
		}
	default:
		s["type"], s["items"] = []string{"array", "null"}, schemaOf(reflect.Zero(t.Elem()), field{})
	}
	if v.Kind() == reflect.Struct && !isScalar(v.Type()) && f.key != "" {
		s["type"] = []string{"object", "null"} // a section with all its lines commented out
	}
	if f.doc != "" {
		s["description"] = f.describe()
	}
	if f.hasValue {
		s["default"] = plainValue(v)
	}
	return s
}

func scalarSchema(v reflect.Value, f field) object {
	s := object{"type": "string"}
	switch t := v.Type(); {
	case t == durationType:
		s["pattern"] = `^([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$`
		s["minLength"] = 2
	case t == sizeType:
		names := []string{}
		for _, u := range sizeUnits {
			names = append(names, u.name)
		}
		s["pattern"] = `^[0-9]+(` + strings.Join(names, "|") + `)$`
	case t == dateType:
		s["pattern"] = `^[0-9]{4}-[0-9]{2}-[0-9]{2}$`
	case t == prefixType:
		s["pattern"] = `^[0-9A-Fa-f:.]+(/[0-9]+)?$`
	case t == openingType:
		s["type"] = []string{"string", "integer"}
	case t.Kind() == reflect.Bool:
		s["type"] = "boolean"
	case t.Kind() == reflect.Int:
		s["type"] = "integer"
		for key, bound := range map[string]string{"minimum": f.min, "maximum": f.max} {
			if n, err := parseInt(bound); err == nil {
				s[key] = n
			}
		}
	case f.oneOf != nil:
		s["enum"] = slices.Clone(f.oneOf)
		if !f.hasValue && f.key != "" {
			s["enum"] = append([]string{""}, f.oneOf...)
		}
	case f.required || f.hasValue && f.fallback != "":
		s["minLength"] = 1
	}
	return s
}

// plainValue turns a value into what JSON writes as the policy would.
func plainValue(v reflect.Value) any {
	switch t := v.Type(); {
	case t.Kind() == reflect.Bool || t.Kind() == reflect.Int:
		return v.Interface()
	case isScalar(t):
		return formatScalar(v)
	case t.Kind() == reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, plainValue(v.Index(i)))
		}
		return out
	case t.Kind() == reflect.Map:
		out := object{}
		for _, key := range sortedKeys(v) {
			out[key] = plainValue(v.MapIndex(reflect.ValueOf(key)))
		}
		return out
	default:
		out := object{}
		for _, f := range fields(t) {
			if fv := v.Field(f.index); !fv.IsZero() {
				out[f.key] = plainValue(fv)
			}
		}
		return out
	}
}
