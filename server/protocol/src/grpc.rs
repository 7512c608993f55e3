//! The protobuf messages, client and server of `inference.GRPCInferenceService`,
//! generated from `proto/` by `tests/generated.rs`.

mod generated {
    #![allow(missing_docs, reason = "made from proto/, which explains what needs it")]
    #![allow(
        clippy::all,
        clippy::needless_pass_by_value,
        clippy::semicolon_if_nothing_returned,
        reason = "generated code is its generator's to style"
    )]
    #![allow(rust_2018_idioms, unreachable_pub, reason = "likewise")]

    include!("generated/inference.rs");
}

pub use generated::*;

/// Every message and service of this module as an encoded `FileDescriptorSet`, for reflection
/// and for reading messages as text.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!("generated/descriptors.bin");

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use prost::Message;
    use prost_types::FileDescriptorSet;

    #[test]
    fn the_service_has_every_method() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let file = set.file.iter().find(|file| !file.service.is_empty()).unwrap();
        assert_eq!(file.package(), "inference");
        let service = &file.service[0];
        assert_eq!(service.name(), "GRPCInferenceService");
        let methods: Vec<_> = service.method.iter().map(|method| method.name()).collect();
        assert_eq!(
            methods,
            [
                "ServerLive",
                "ServerReady",
                "ModelReady",
                "ServerMetadata",
                "ModelMetadata",
                "ModelConfig",
                "ModelStatistics",
                "ModelInfer",
                "ModelStreamInfer",
                "RepositoryIndex",
                "RepositoryModelLoad",
                "RepositoryModelUnload",
                "SystemSharedMemoryStatus",
                "SystemSharedMemoryRegister",
                "SystemSharedMemoryUnregister",
                "CudaSharedMemoryStatus",
                "CudaSharedMemoryRegister",
                "CudaSharedMemoryUnregister",
                "TraceSetting",
                "LogSettings",
            ]
        );
    }

    #[test]
    fn the_set_is_complete() {
        let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let names: Vec<_> = set.file.iter().map(|file| file.name()).collect();
        assert_eq!(names, ["model_config.proto", "grpc_service.proto"]);
    }

    #[test]
    fn raw_tensors_are_not_copied() {
        let request = ModelInferRequest {
            raw_input_contents: vec![Bytes::from_static(&[7; 64])],
            ..Default::default()
        };
        let encoded = Bytes::from(request.encode_to_vec());
        let decoded = ModelInferRequest::decode(encoded.clone()).unwrap();
        let within = encoded.as_ptr_range();
        assert!(within.contains(&decoded.raw_input_contents[0].as_ptr()));
    }
}
