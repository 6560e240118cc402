{{/* What is mounted as files: from which object, and which setting names each file. */}}

{{/* The Secret of one side (`aries`, `kafka`, `schemaRegistry`), empty where there is none. Called with root and side. */}}
{{- define "aries-bridge.secretName" -}}
{{- $external := index .root.Values.externalSecrets .side -}}
{{- $existing := (index .root.Values .side).existingSecret -}}
{{- if $existing -}}
{{- $existing -}}
{{- else if and .root.Values.externalSecrets.enabled (or $external.data $external.dataFrom) -}}
{{- printf "%s-%s" (include "aries-bridge.fullname" .root) (.side | kebabcase) -}}
{{- end -}}
{{- end -}}

{{/* How the settings log in to Kafka: by a `password`, a `token`, or the pod's IAM role (`iam`). */}}
{{- define "aries-bridge.sasl" -}}
{{- if hasPrefix "SASL_" .Values.kafka.security.protocol -}}
{{- get (dict "OAUTHBEARER" "token" "AWS_MSK_IAM" "iam") .Values.kafka.security.sasl.mechanism | default "password" -}}
{{- end -}}
{{- end -}}

{{/* Called as the container is; `only` is the beginning of the names of the mounts that are wanted. */}}
{{- define "aries-bridge.mounts" -}}
{{- $v := .root.Values -}}
{{- $refresh := eq $v.aries.credentials "refreshToken" -}}
{{- $sasl := include "aries-bridge.sasl" .root -}}
{{- $tls := $v.kafka.security.tls -}}
{{- $only := .only | default "" -}}
{{- $oauth := $v.kafka.security.oauth -}}
{{- $mounts := list
  (dict "name" "aries" "secret" (include "aries-bridge.secretName" (dict "root" .root "side" "aries")) "files" (list
    (dict "setting" "ARIES_ACCESS_TOKEN_FILE" "key" (ternary "" $v.aries.secretKeys.accessToken $refresh))
    (dict "setting" "ARIES_REFRESH_TOKEN_FILE" "key" (ternary $v.aries.secretKeys.refreshToken "" $refresh))
    (dict "setting" "ARIES_CLIENT_SECRET_FILE" "key" (ternary $v.aries.secretKeys.clientSecret "" $refresh))
    (dict "setting" "ARIES_API_KEY_FILE" "key" $v.aries.secretKeys.apiKey)))
  (dict "name" "aries-ca" "secret" $v.aries.ca.secret "configMap" $v.aries.ca.configMap "files" (list
    (dict "setting" "ARIES_SSL_CAFILE" "key" $v.aries.ca.key)))
  (dict "name" "kafka" "secret" (include "aries-bridge.secretName" (dict "root" .root "side" "kafka")) "files" (list
    (dict "setting" "KAFKA_SASL_PASSWORD_FILE" "key" (ternary $v.kafka.secretKeys.password "" (eq $sasl "password")))
    (dict "setting" "KAFKA_OAUTH_CLIENT_SECRET_FILE" "key" (ternary $v.kafka.secretKeys.oauthClientSecret "" (eq $sasl "token")))))
  (dict "name" "kafka-token" "audience" (ternary $oauth.tokenAudience "" (eq $sasl "token")) "files" (list
    (dict "setting" "KAFKA_OAUTH_TOKEN_FILE" "key" "token")))
  (dict "name" "kafka-assertion" "audience" (ternary $oauth.assertionAudience "" (eq $sasl "token")) "files" (list
    (dict "setting" "KAFKA_OAUTH_CLIENT_ASSERTION_FILE" "key" "token")))
  (dict "name" "kafka-ca" "secret" $tls.ca.secret "configMap" $tls.ca.configMap "files" (list
    (dict "setting" "KAFKA_SSL_CAFILE" "key" $tls.ca.key)))
  (dict "name" "kafka-client" "secret" $tls.client.secret "files" (list
    (dict "setting" "KAFKA_SSL_CERTFILE" "key" $tls.client.certKey)
    (dict "setting" "KAFKA_SSL_KEYFILE" "key" $tls.client.keyKey)
    (dict "setting" "KAFKA_SSL_KEY_PASSWORD_FILE" "key" $tls.client.passwordKey)))
  (dict "name" "schema-registry" "secret" (include "aries-bridge.secretName" (dict "root" .root "side" "schemaRegistry")) "files" (list
    (dict "setting" "SCHEMA_REGISTRY_PASSWORD_FILE" "key" (ternary $v.schemaRegistry.secretKeys.password "" (ne $v.schemaRegistry.username "")))
    (dict "setting" "SCHEMA_REGISTRY_BEARER_TOKEN_FILE" "key" $v.schemaRegistry.secretKeys.bearerToken)
    (dict "setting" "SCHEMA_REGISTRY_OAUTH_CLIENT_SECRET_FILE" "key" (ternary $v.schemaRegistry.secretKeys.oauthClientSecret "" (ne $v.schemaRegistry.oauth.tokenUrl "")))
    (dict "setting" "SCHEMA_REGISTRY_KEY_PASSWORD_FILE" "key" $v.schemaRegistry.secretKeys.keyPassword)))
  (dict "name" "schema-registry-ca" "secret" $v.schemaRegistry.ca.secret "configMap" $v.schemaRegistry.ca.configMap "files" (list
    (dict "setting" "SCHEMA_REGISTRY_CAFILE" "key" $v.schemaRegistry.ca.key)))
  (dict "name" "schema-registry-client" "secret" $v.schemaRegistry.client.secret "files" (list
    (dict "setting" "SCHEMA_REGISTRY_CERTFILE" "key" $v.schemaRegistry.client.certKey)
    (dict "setting" "SCHEMA_REGISTRY_KEYFILE" "key" $v.schemaRegistry.client.keyKey)))
-}}
{{- if $v.subscriptions.hotReload -}}
{{- $mounts = append $mounts (dict "name" "subscriptions" "configMap" (printf "%s%s-subscriptions" (include "aries-bridge.fullname" .root) (.hook | default false | ternary "-hooks" "")) "files" (list
    (dict "setting" "ARIES_SUBSCRIPTIONS_FILE" "key" "subscriptions.json"))) -}}
{{- end -}}
{{- $used := list -}}
{{- range $mounts -}}
{{- $files := list -}}
{{- range .files -}}
{{- if .key -}}
{{- $path := .setting | trimSuffix "_FILE" | lower | replace "_" "-" -}}
{{- $files = append $files (dict "setting" .setting "key" .key "path" $path) -}}
{{- end -}}
{{- end -}}
{{- if and $files (or .secret .configMap .audience) (hasPrefix $only .name) -}}
{{- $used = append $used (merge (dict "files" $files) .) -}}
{{- end -}}
{{- end -}}
{{- toYaml (dict "mounts" $used) -}}
{{- end -}}

{{/* Called as the container is; with `captures` the volume of captures is the one that is wanted, which a pod beside the
     bridge must not mount, as it may be for one pod only. */}}
{{- define "aries-bridge.volumes" -}}
{{- range (include "aries-bridge.mounts" . | fromYaml).mounts }}
- name: {{ .name }}
  {{- if .audience }}
  projected:
    defaultMode: 288 # 0440 in octal, which YAML 1.2 reads as a decimal number
    sources:
      - serviceAccountToken:
          audience: {{ .audience | quote }}
          expirationSeconds: {{ int $.root.Values.kafka.security.oauth.tokenExpirationSeconds }}
          path: {{ (first .files).path }}
  {{- else }}
  {{- if .configMap }}
  configMap:
    name: {{ .configMap }}
  {{- else }}
  secret:
    secretName: {{ .secret }}
  {{- end }}
    defaultMode: 288 # 0440 in octal, which YAML 1.2 reads as a decimal number
    items:
      {{- range .files }}
      - key: {{ .key | quote }}
        path: {{ .path }}
      {{- end }}
  {{- end }}
{{- end }}
{{- if .root.Values.bridge.capture.dir }}
- name: captures
  {{- toYaml (and .captures .root.Values.bridge.capture.volume | default (dict "emptyDir" dict)) | nindent 2 }}
{{- end }}
{{- with .root.Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "aries-bridge.volumeMounts" -}}
{{- range (include "aries-bridge.mounts" . | fromYaml).mounts }}
- name: {{ .name }}
  mountPath: /etc/aries-bridge/{{ .name }}
  readOnly: true
{{- end }}
{{- with .root.Values.bridge.capture.dir }}
- name: captures
  mountPath: {{ . | quote }}
{{- end }}
{{- with .root.Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end -}}
