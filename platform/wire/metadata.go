package wire

import (
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// checkMetadata applies gRPC's rules for metadata (https://github.com/grpc/grpc/blob/master/doc/
// PROTOCOL-HTTP2.md, "Custom-Metadata"), with gRPC's code for breaking them.
func checkMetadata(md metadata.MD) error {
	for name, values := range md {
		if !validName(name) {
			return status.Errorf(codes.Internal, "header key %q contains illegal characters not in [0-9a-z-_.]", name)
		}
		if strings.HasSuffix(name, "-bin") {
			continue
		}
		for _, v := range values {
			if !printable(v) {
				return status.Errorf(codes.Internal, "header key %q contains value with non-printable ASCII characters", name)
			}
		}
	}
	if size := headerListSize(md); size > MaxMetadataBytes {
		return status.Errorf(codes.Internal, "metadata of %d bytes is larger than the maximum of %d", size, MaxMetadataBytes)
	}
	return nil
}

func validName(name string) bool {
	for i := range len(name) {
		c := name[i]
		lower, digit := c >= 'a' && c <= 'z', c >= '0' && c <= '9'
		if !lower && !digit && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return name != ""
}

func printable(value string) bool {
	for i := range len(value) {
		if value[i] < 0x20 || value[i] > 0x7E {
			return false
		}
	}
	return true
}

// dropReserved removes what gRPC keeps for itself and silently drops from a caller's metadata, so
// that code does not come to depend on it in one process and lose it on a network.
func dropReserved(md metadata.MD) {
	for name := range md {
		if strings.HasPrefix(name, ":") {
			delete(md, name)
			continue
		}
		switch name {
		case "content-type", "user-agent", "grpc-message-type", "grpc-encoding", "grpc-message",
			"grpc-status", "grpc-timeout", "te":
			delete(md, name)
		}
	}
}
